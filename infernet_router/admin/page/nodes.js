/** The list of nodes: filtered, sorted and paged by the router, with all of that in the address. */

import { get } from "./api.js";
import { h, table } from "./dom.js";
import { ago, count, duration, figure, link, node, several, since, some, state, why } from "./words.js";

const LIMIT = 50;
const PROBLEMS = ["down", "suspect"];
const STATES = ["up", "suspect", "down", "unknown", "drained"];
const COLUMNS = [
    ["address", "Address", (each) => node(each.address)],
    ["state", "State", (each) => state(each.state)],
    ["since", "Since", (each) => ago(since(each))],
    ["reason", "Reason", why, "wide"],
    [null, "Containers", (each) => some(each.containers, 4), "wide"],
    ["jobs", "Jobs", (each) => figure(each.jobs), "number"],
    ["rate", "Jobs/s", (each) => figure(each.rate), "number"],
    ["report_age_seconds", "Report", (each) => duration(each.report_age_seconds), "number"],
    ["weight", "Weight", (each) => figure(each.weight), "number"],
];

export const every = 4;
export const title = () => "Nodes";

export async function load({ query }) {
    const asked = new URLSearchParams({ sort: "state", limit: LIMIT });
    for (const name of ["q", "container", "sort", "order", "offset"]) if (query.get(name)) asked.set(name, query.get(name));
    const wanted = query.get("state") ?? "";
    for (const each of wanted === "problems" ? PROBLEMS : [wanted].filter(Boolean)) asked.append("state", each);
    return get(`nodes?${asked}`);
}

export function show({ total, nodes }, { query }) {
    const offset = Number(query.get("offset") ?? 0), last = Math.min(offset + LIMIT, total);
    return h("div", { class: "view" },
        h("h1", { tabindex: -1 }, several(total, "node"), filters(query) && h("span", {}, ` ${filters(query)}`)),
        filter(query),
        h("section", { class: "panel", "aria-label": "Nodes" }, list(nodes, query),
            h("div", { class: "bar" },
                h("span", { class: "muted" }, total ? `${count(Math.min(offset + 1, last))} to ${count(last)} of ${count(total)}` : ""),
                turn("Previous", offset > 0, query, Math.max(0, offset - LIMIT)),
                turn("Next", last < total, query, offset + LIMIT))));
}

const filters = (query) => [
    query.get("state") === "problems" ? "down or suspect" : query.get("state"),
    query.get("container") && `with ${query.get("container")}`,
    query.get("q") && `matching “${query.get("q")}”`,
].filter(Boolean).join(", ");

const go = (query, changes) => link("nodes", { ...Object.fromEntries(query), offset: "", ...changes });

function turn(words, isThere, query, offset) {
    return h("button", { disabled: !isThere, onclick: () => { location.hash = go(query, { offset: offset || "" }); } }, words);
}

function filter(query) {
    const chosen = query.get("state") ?? "";
    const option = (value, words) => h("option", { value, selected: value === chosen }, words);
    const apply = (event) => {
        event.preventDefault();
        const form = event.target.form ?? event.target;
        location.hash = go(query, Object.fromEntries(["state", "container", "q"].map((name) => [name, form.elements[name].value.trim()])));
    };
    const text = (name, words) => h("label", {}, words,
        h("input", { name, type: "search", value: query.get(name) ?? "", maxlength: 500, onchange: apply }));
    return h("form", { role: "search", "aria-label": "Filter", onsubmit: apply },
        h("label", {}, "State", h("select", { name: "state", onchange: apply },
            option("", "all"), option("problems", "only problems"), STATES.map((name) => option(name, name)))),
        text("container", "Container"), text("q", "Address, reason or container has"),
        h("button", {}, "Filter"));
}

function list(nodes, query) {
    const sort = query.get("sort") ?? "state", order = query.get("order") ?? "asc";
    const columns = COLUMNS.map(([name, words, cell, kind]) => {
        const isSorted = name === sort, next = isSorted && order === "asc" ? "desc" : "asc";
        return {
            cell, number: kind === "number", wide: kind === "wide",
            title: name ? h("button", { onclick: () => { location.hash = go(query, { sort: name, order: next }); } }, words) : words,
            attributes: { "aria-sort": isSorted && (order === "asc" ? "ascending" : "descending") },
        };
    });
    return table("Nodes", columns, nodes, { empty: "no node is like this" });
}
