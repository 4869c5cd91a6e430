/** The overview: how it is in one sentence, what is wrong, the last 15 minutes, and all nodes. */

import { get } from "./api.js";
import { sparkline } from "./chart.js";
import { h, table } from "./dom.js";
import { NodeMap, meaning, named, tally, waiting } from "./map.js";
import { count, duration, figure, link, percent, several, state } from "./words.js";

const map = new NodeMap();
let known = null;  // the last map, of which the addresses are kept
let knownAt = 0;

/** From so many nodes on, a new map every other second is enough. */
const MANY = 5000;

export const title = () => "Overview";

/** The router leaves the addresses out while they are the same. */
export async function load({ query, overview }) {
    const grouped = query.get("group") === "containers";
    const isFresh = known?.letters.length > MANY && !known.set_of === !grouped && performance.now() - knownAt < 1900;
    if (isFresh) return { overview, map: known, grouped };
    const asked = [known && `list=${encodeURIComponent(known.list)}`, grouped && "grouped=1"].filter(Boolean).join("&");
    const fresh = await get(`map?${asked}`);
    fresh.addresses ??= known.addresses;
    const isSame = known?.set_of && fresh.set_of && JSON.stringify([known.sets, known.set_of]) === JSON.stringify([fresh.sets, fresh.set_of]);
    if (isSame) fresh.set_of = known.set_of;
    known = fresh;
    knownAt = performance.now();
    return { overview, map: fresh, grouped };
}

export function show(data) {
    const { overview, grouped } = data;
    return h("div", { class: "view" },
        h("h1", { tabindex: -1 }, sentence(overview)),
        problems(overview.problems),
        sparks(overview),
        h("section", { class: "panel", "aria-label": "All nodes" },
            h("div", { class: "bar" },
                h("h2", {}, "All nodes"),
                h("label", { class: "check" },
                    h("input", {
                        type: "checkbox", id: "grouped", checked: grouped,
                        onchange: (event) => location.replace(link("", { group: event.target.checked ? "containers" : "" })),
                    }),
                    "By container")),
            h("div", { "data-keep": "map" }),
            legend(data.map),
            grouped && sets(data.map)));
}

/** Put the map where it belongs, and draw it. */
export function shown(main, data) {
    const place = main.querySelector("[data-keep=map]");
    if (!place.contains(map.element)) place.append(map.element);
    map.show(data.map);
}

/** What to focus when somebody comes back from a node. */
export const back = (from) => (map.address && from.includes(encodeURIComponent(map.address)) ? map.canvas : null);

function sentence({ nodes, requests_per_second: answers, p99_seconds: p99, queue_within_one_job: within, overrides, replicas }) {
    const total = Object.values(nodes).reduce((sum, number) => sum + number, 0);
    const parts = [`; ${figure(answers)} answers/s`, p99 !== null && `, p99 ${duration(p99)}`,
        within !== null && `; guesses within 1 job for ${percent(within)} of reports`,
        overrides > 0 && `; ${several(overrides, "override")}`,
        replicas.members > 1 && `; ${several(replicas.members, "router")} share what they know`,
        replicas.alone && "; this router reaches no other"];
    return [`${count(nodes.up)} of ${several(total, "node")} up`, h("span", {}, ...parts.filter(Boolean), ".")];
}

/** The view of this page for a path that the router names. */
function target(path) {
    const [, view, query] = /^\/admin\/v1\/(\w+)(?:\?(.*))?$/.exec(path) ?? [];
    if (view === undefined) return path.startsWith("/") && !path.startsWith("//") ? path : "#/";
    const name = { sources: "setup", options: "setup", overrides: "orders", audit: "orders" }[view] ?? view;
    return link(name, Object.fromEntries(new URLSearchParams(query)));
}

function problems(list) {
    if (!list.length) return null;
    const [worst, ...others] = list.map(({ text, link: path }) => h("a", { href: target(path) }, text));
    return h("div", { class: "problem" }, worst,
        others.length > 0 && h("details", {},
            h("summary", {}, `and ${several(others.length, "other problem")}`),
            h("ul", {}, others.map((other) => h("li", {}, other)))));
}

function sparks({ history, nodes, requests_per_second: answers, p99_seconds: p99 }) {
    const noNode = history.no_node_per_second;
    const options = { interval: history.interval_seconds, words: figure };
    return h("section", { class: "sparks", "aria-label": "The last 15 minutes" },
        sparkline("Answers/s", figure(answers), history.requests_per_second, options),
        sparkline("No node/s", figure(noNode.at(-1) ?? 0), noNode, { ...options, bad: noNode.some((rate) => rate > 0) }),
        sparkline("p99", duration(p99), history.p99_seconds, { ...options, words: duration }),
        sparkline("Up or suspect", count(nodes.up + nodes.suspect), history.up, { ...options, words: count, floor: true }));
}

/** How many nodes are in which state, and how long a job would wait there: what the map shows. */
function legend(data) {
    const counts = tally(data);
    const levels = data.waits.map((_, level) => level).concat(data.waits.length);
    const hasWait = (name) => name !== "down" && name !== "unknown";
    const columns = [
        { title: "State", cell: ({ name }) => h("a", { href: link("nodes", { state: name }) }, state(name)) },
        { title: "Nodes", number: true, cell: ({ row }) => count(row.reduce((sum, number) => sum + number, 0)) },
        ...levels.map((level) => ({
            title: level ? waiting(level, data) : `a job waits ${waiting(level, data)}`,
            number: true,
            cell: ({ name, row }) => hasWait(name) && row[level] > 0
                && [h("span", { class: `swatch ${name} w${level}` }), count(row[level])],
        })),
    ];
    return table("Nodes by state and by how long a job waits there", columns,
        data.states.map((name, position) => ({ name, row: counts[position] })));
}

/** The same by the containers that nodes run. */
function sets(data) {
    const rows = data.sets.map((containers) => ({ containers, row: data.states.map(() => 0) }));
    data.set_of.forEach((set, node) => { rows[set].row[meaning(data.letters[node], data)[0]] += 1; });
    const columns = [
        { title: "Containers", cell: ({ containers }) => named(containers) },
        ...data.states.map((name, each) => ({ title: state(name), number: true, cell: ({ row }) => row[each] > 0 && count(row[each]) })),
    ];
    return table("Nodes by containers and state", columns, rows.filter(({ row }) => row.some(Boolean)));
}
