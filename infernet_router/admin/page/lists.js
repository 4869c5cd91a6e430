/** Lists: the containers, the orders of operators with the audit, and how the router is set up. */

import { get } from "./api.js";
import { h, table } from "./dom.js";
import { ago, count, cut, figure, link, node, percent, several, state } from "./words.js";

/** The share of the capacity that should not be in use when nodes are lost. */
const HIGH = 0.9;

/** The most rows of a list. */
const MOST = 100;

/** How many nodes of average speed a container can lose before its jobs take more than HIGH of the rest. */
function spare({ nodes, utilization }) {
    const serving = (nodes.up ?? 0) + (nodes.suspect ?? 0);
    if (!serving || utilization === null) return null;
    return Math.max(0, Math.min(serving - 1, Math.floor(serving * (1 - utilization / HIGH) + 1e-9)));
}

function survives(container) {
    const nodes = spare(container);
    if (nodes === null) return h("span", { class: "error" }, "no node gets its jobs");
    if (nodes === 0) return h("span", { class: "error" }, "does not survive the loss of a node");
    return `survives the loss of ${several(nodes, "node")}`;
}

export const containers = {
    every: 3,
    title: () => "Containers",
    load: () => get("containers"),
    show: ({ containers: all }) => h("div", { class: "view" },
        h("h1", { tabindex: -1 }, several(all.length, "container")),
        h("section", { class: "panel", "aria-label": "Containers" },
            table("Containers", [
                { title: "Container", wide: true, cell: ({ id, description }) => [h("a", { href: link("nodes", { container: id }) }, id), description && h("div", { class: "small muted" }, cut(description, 200))] },
                ...["up", "suspect", "drained", "down"].map((name) => ({ title: state(name), number: true, cell: ({ nodes }) => count(nodes[name] ?? 0) })),
                { title: "Jobs", number: true, cell: ({ jobs }) => figure(jobs) },
                { title: "Jobs/s possible", number: true, cell: (each) => figure(each.capacity_jobs_per_second) },
                { title: "Busy", number: true, cell: ({ utilization }) => percent(utilization) },
                { title: "If nodes fail", wide: true, cell: survives },
                { title: "", cell: ({ id }) => h("a", { href: link("try", { container: id }), "aria-label": `Try ${id}` }, "Try") , attributes: { "aria-label": "Try it" } },
            ], all.slice(0, MOST), { empty: "no node has said what it runs" }),
            all.length > MOST && h("p", { class: "muted" }, `and ${count(all.length - MOST)} more, on fewer nodes`))),
};

const VERBS = { put: "ordered", delete: "undone", expire: "ended by itself", other: "tried" };

/** What an order or a change is, in words. */
function effect(order) {
    if (!order) return "–";
    if (typeof order !== "object") return String(order);
    const parts = [order.drain && "no jobs", (order.weight ?? 1) !== 1 && `weight ${figure(order.weight)}`];
    return parts.filter(Boolean).join(", ") || "as usual";
}

export const orders = {
    every: 3,
    title: () => "Orders",
    load: async () => {
        const [{ overrides }, { audit }] = await Promise.all([get("overrides"), get("audit?limit=50")]);
        return { overrides, audit };
    },
    show: ({ overrides, audit }) => h("div", { class: "view" },
        h("h1", { tabindex: -1 }, several(overrides.length, "order"), h("span", {}, " in force")),
        h("section", { class: "panel", "aria-label": "Orders in force" },
            table("Orders in force", [
                { title: "Node", cell: ({ address }) => node(address) },
                { title: "Order", cell: effect },
                { title: "Reason", wide: true, cell: ({ reason }) => reason ?? "" },
                { title: "By", cell: (each) => each.by ?? "" },
                { title: "Since", cell: (each) => ago(each.given) },
                { title: "Ends", cell: (each) => (each.until ? ago(each.until) : "when undone") },
            ], overrides.slice(0, MOST), { empty: "no node is drained or weighed" }),
            overrides.length > MOST && h("p", { class: "muted" }, `and ${count(overrides.length - MOST)} older ones`)),
        h("section", { class: "panel", "aria-labelledby": "audit" },
            h("h2", { id: "audit" }, "Who changed what"),
            table("Who changed what", [
                { title: "When", cell: ({ time }) => ago(time) },
                { title: "Who", cell: ({ name, peer }) => [name || "nobody", peer && h("span", { class: "muted" }, ` from ${peer}`)] },
                { title: "What", cell: ({ verb }) => VERBS[verb] ?? verb },
                { title: "Node", cell: ({ address }) => (address?.startsWith("/") ? address : address && node(address)) },
                { title: "Before", cell: ({ before }) => effect(before) },
                { title: "After", cell: ({ after }) => effect(after) },
                { title: "Reason", wide: true, cell: ({ reason }) => reason ?? "" },
                { title: "Result", cell: ({ result }) => String(result ?? "") },
            ], audit, { empty: "nothing was changed yet" }))),
};

/** The value of an option. */
function setting(value) {
    if (value === null || value === "" || value?.length === 0) return "–";
    if (typeof value === "boolean") return value ? "yes" : "no";
    if (Array.isArray(value)) return value.map(setting).join(" ");
    return typeof value === "object" ? Object.entries(value).map((pair) => pair.join("=")).join(" ") || "–" : String(value);
}

export const setup = {
    every: 5,
    title: () => "Setup",
    load: async ({ overview }) => {
        const [{ sources }, { options }] = await Promise.all([get("sources"), get("options")]);
        return { overview, sources, options };
    },
    show: ({ overview, sources, options }) => h("div", { class: "view" },
        h("h1", { tabindex: -1 }, `Infernet Router ${overview.version}`, h("span", {}, " started ", ago(overview.started))),
        h("section", { class: "panel", "aria-labelledby": "sources" },
            h("h2", { id: "sources" }, "Where addresses come from"),
            table("Where addresses come from", [
                { title: "Source", wide: true, cell: ({ name }) => name },
                { title: "Kind", cell: ({ kind }) => kind },
                { title: "Nodes", number: true, cell: ({ addresses }) => count(addresses) },
                { title: "Last good", cell: (each) => ago(each.last_success) },
                { title: "Problem", wide: true, cell: ({ reason, flaw }) => h("span", { class: "error" }, [reason, flaw].filter(Boolean).join("; ")) },
            ], sources)),
        h("section", { class: "panel", "aria-labelledby": "options" },
            h("h2", { id: "options" }, "Options in effect"),
            table("Options in effect", [
                { title: "Option", cell: ([name]) => name },
                { title: "Value", wide: true, cell: ([, value]) => setting(value) },
            ], Object.entries(options)))),
};
