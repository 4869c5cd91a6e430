/** Choices: the last decisions, one of them in full, and what would be chosen now. */

import { get } from "./api.js";
import { h, svg, table } from "./dom.js";
import { ago, count, duration, figure, link, node, several, some } from "./words.js";

const SHOWN = 16;

/** The columns of a table of decisions. */
export const decisionColumns = (hasNode) => [
    { title: "When", cell: (each) => h("a", { href: link(`decision/${encodeURIComponent(each.id)}`) }, ago(each.time)) },
    { title: "For", cell: (each) => some(each.containers, 4, " + ") },
    hasNode && { title: "Node", cell: (each) => node(each.node) },
    { title: "Of", number: true, cell: (each) => count(each.candidates) },
    { title: "Expected", number: true, cell: ({ after }) => figure(after?.expected_jobs) },
    { title: "Reported", number: true, cell: ({ after }) => figure(after?.reported_jobs) },
].filter(Boolean);

/** A table of costs as bars, the winner marked. */
function bars(compared, chosen, word = "chosen") {
    const most = Math.max(...compared.map(({ cost }) => cost), 1e-9);
    const bar = (cost, isChosen) => svg("svg", { class: `meter${isChosen ? " chosen" : ""}`, viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
        svg("rect", { width: Math.max(1, (100 * cost) / most), height: 10 }));
    return table("The nodes that were compared", [
        { title: "Node", cell: (each) => [node(each.node), each.node === chosen && ` ✓ ${word}`] },
        { title: "Cost", number: true, cell: (each) => figure(each.cost) },
        { title: "", wide: true, cell: (each) => bar(each.cost, each.node === chosen), attributes: { "aria-label": "Cost as a bar" } },
        { title: "Jobs there", number: true, cell: (each) => figure(each.jobs) },
        { title: "Jobs/s", number: true, cell: (each) => figure(each.rate) },
    ], compared, { className: (each) => (each.node === chosen ? "chosen" : null) });
}

/** How clear a choice was, in words. */
function clearness({ compared, node: chosen, margin }) {
    const cost = compared.find((each) => each.node === chosen)?.cost;
    if (margin === null) return "There was no other node to compare it with.";
    if (!cost || margin === 0) return "Others would have cost the same: chance decided.";
    const share = margin / cost;
    const words = share < 0 ? "Another would have cost less, but was not to be had."
        : share < 0.05 ? "It was close: the next best would have cost hardly more"
        : share < 0.5 ? "The next best would have cost somewhat more"
        : "It was clear: the next best would have cost much more";
    return share < 0 ? words : `${words} (${figure(share * 100)} %).`;
}

function leftOut(left) {
    const parts = Object.entries(left).filter(([, number]) => number > 0).map(([why, number]) => `${count(number)} ${why}`);
    return parts.length ? `Left out: ${parts.join(", ")}.` : "No node was left out.";
}

export const decisions = {
    every: 2,
    title: () => "Decisions",
    load: ({ query }) => {
        const asked = new URLSearchParams({ limit: 50 });
        for (const name of ["container", "node"]) if (query.get(name)) asked.set(name, query.get(name));
        return get(`decisions?${asked}`);
    },
    show: ({ decisions: found }, { query }) => h("div", { class: "view" },
        h("h1", { tabindex: -1 }, "Last decisions", query.get("container") && h("span", {}, ` for ${query.get("container")}`)),
        finder("Find a decision by its id (the header Infernet-Decision of an answer)", "id", (id) => link(`decision/${encodeURIComponent(id)}`)),
        h("section", { class: "panel", "aria-label": "Decisions" },
            table("Decisions", decisionColumns(true), found, { empty: "no client has asked yet" }))),
};

function finder(words, name, target) {
    return h("form", { role: "search", "aria-label": "Find", onsubmit: (event) => { event.preventDefault(); location.hash = target(event.target.elements[name].value.trim()); } },
        h("label", {}, words, h("input", { name, required: true, maxlength: 200, autocomplete: "off" })), h("button", {}, "Find"));
}

export const decision = {
    opened: true,
    every: 2,
    title: ({ params }) => `Decision ${params}`,
    load: ({ params }) => get(`decisions/${encodeURIComponent(params)}`),
    show: (found) => {
        const { after } = found;
        // Runs of neighbours may overlap, so a node may be in both.
        const compared = found.compared.filter(({ node: name }, position, all) => all.findIndex((each) => each.node === name) === position);
        return h("div", { class: "view" },
            h("h1", { tabindex: -1 }, found.node, h("span", {}, ` got the job for ${some(found.containers, 10, " + ")}`)),
            h("p", {}, "Chosen ", ago(found.time), ` out of ${several(found.candidates, "candidate")}, of which ${count(compared.length)} were compared. `,
                clearness(found), " ", leftOut(found.left_out)),
            h("section", { class: "panel", "aria-labelledby": "compared" },
                h("h2", { id: "compared" }, "What the job would have cost"), bars(compared.slice(0, SHOWN), found.node),
                compared.length > SHOWN && h("p", { class: "muted" }, `and ${several(compared.length - SHOWN, "dearer node")}`)),
            h("section", { class: "panel", "aria-labelledby": "after" },
                h("h2", { id: "after" }, "What came after"),
                h("p", {}, after
                    ? `The next report came ${duration(after.age_seconds)} later: ${figure(after.expected_jobs)} jobs were expected, ${figure(after.reported_jobs)} reported.`
                    : "The node has not reported since, or went down before it did."),
                h("p", {}, h("a", { href: link("try", { container: found.containers.join(" ") }) }, "What would be chosen now?"))),
            h("p", { class: "small muted" }, "Decision ", h("span", { class: "address" }, found.id)));
    },
};

export const attempt = {
    every: 0,
    title: () => "Try it",
    load: async ({ query }) => {
        const names = (query.get("container") ?? "").split(/[\s,]+/).filter(Boolean);
        const { containers } = await get("containers");
        if (!names.length) return { containers };
        const asked = new URLSearchParams(names.map((name) => ["container", name]));
        for (const name of ["model_id", "node"]) if (query.get(name)) asked.set(name, query.get(name));
        asked.set("limit", SHOWN);
        try {
            return { containers, names, found: await get(`explain?${asked}`) };
        } catch (error) {
            if (error.status === undefined || error.status === 401 || error.status === 429) throw error;
            return { containers, names, error: error.message };
        }
    },
    show: ({ containers, names, found, error }, { query }) => h("div", { class: "view" },
        h("h1", { tabindex: -1 }, "Try it", h("span", {}, ": which node would a job get now? Nothing is counted.")),
        form(query, containers),
        error && h("p", { class: "error", role: "alert" }, error),
        found && h("section", { class: "panel", "aria-label": "Answer" },
            h("h2", {}, found.nodes.length ? `${several(found.candidates, "candidate")} for ${names.join(" + ")}` : `No node can do a job for ${names.join(" + ")}`),
            found.node && h("p", {}, node(found.node.node), `: ${found.node.rank ? `number ${count(found.node.rank)}. ` : ""}${found.node.why}`),
            found.nodes.length > 0 && bars(found.nodes, found.nodes[0].node, "best"))),
};

function form(query, containers) {
    const field = (name, words, attributes = {}) => h("label", {}, words,
        h("input", { name, value: query.get(name) ?? "", autocomplete: "off", maxlength: 500, ...attributes }));
    const send = (event) => {
        event.preventDefault();
        const { elements } = event.target, names = ["container", "model_id", "node"];
        const wanted = link("try", Object.fromEntries(names.map((name) => [name, elements[name].value.trim()])));
        if (wanted === location.hash) document.dispatchEvent(new CustomEvent("changed"));
        else location.hash = wanted;
    };
    return h("form", { class: "panel", onsubmit: send },
        field("container", "Containers, with blanks between them", { list: "known", required: true }),
        h("datalist", { id: "known" }, containers.slice(0, 100).map(({ id }) => h("option", { value: id }))),
        field("model_id", "Model (may be empty)"), field("node", "Why (not) this node (may be empty)"),
        h("button", { class: "primary" }, "Explain"));
}
