/** One node: what it reports and what is expected of it, what happened, and what can be ordered. */

import { get, now } from "./api.js";
import { queues } from "./chart.js";
import { h, table } from "./dom.js";
import { askDrain, askUndo, askWeight } from "./orders.js";
import { ago, count, cut, duration, figure, link, percent, since, state } from "./words.js";
import { decisionColumns } from "./choices.js";

const SPAN = 900;
const MOST_KEPT = 20;
/** The most containers of a node that are named. */
const MOST_NAMED = 50;
/** By address: what was expected and reported there, as far as this page has seen. */
const seen = new Map();

export const opened = true;
export const title = ({ params }) => params;

export async function load({ params, query }) {
    const isFirst = !seen.has(params);
    const found = await read(params);
    if (isFirst) {
        const past = await get(`decisions?limit=200&node=${encodeURIComponent(params)}`);
        seen.set(params, before(past.decisions));
        if (seen.size > MOST_KEPT) seen.delete(seen.keys().next().value);
    }
    const samples = seen.get(params);
    samples.push({ time: now(), expected: found.jobs, reported: found.state === "down" ? null : found.pending });
    while (samples[0].time < now() - SPAN * 1000) samples.shift();
    return { ...found, samples };
}

/** A node; of one that is being drained, also whether it is done. */
async function read(address) {
    const path = `nodes/${encodeURIComponent(address)}`, found = await get(path);
    if (!found.override?.drain) return found;
    // 409: the order has ended meanwhile.
    return get(`${path}?wait=drained&timeout=0`).catch((error) => { if (error.status === 409) return found; throw error; });
}

/** What was expected and reported after the last decisions, from before the page was opened. */
const before = (decisions) => decisions
    .filter(({ after }) => after)
    .map(({ time, after }) => ({
        time: Date.parse(time) + after.age_seconds * 1000, expected: after.expected_jobs, reported: after.reported_jobs,
    }))
    .sort((one, other) => one.time - other.time)
    .filter(({ time }, position, all) => !position || time - all[position - 1].time > 50);

export function show(found) {
    const span = Math.max(60, Math.min(SPAN, (now() - found.samples[0].time) / 1000));
    return h("div", { class: "view" },
        h("div", { class: "bar" },
            h("h1", { tabindex: -1 }, h("span", { class: "address" }, found.address)),
            buttons(found)),
        h("p", {}, state(found.state), h("span", { class: "muted" }, " since ", ago(since(found)), reasons(found)),
            found.override?.drain && h("strong", {}, found.drained ? " It has no jobs left: it is safe to delete." : " It may still have jobs.")),
        h("section", { class: "panel", "aria-label": "What is known of it" }, facts(found)),
        h("section", { class: "panel", "aria-labelledby": "queue" },
            h("h2", { id: "queue" }, "Jobs that wait or run there"), queues(found.samples, now(), span)),
        h("div", { class: "two" },
            h("section", { class: "panel", "aria-labelledby": "history" }, h("h2", { id: "history" }, "History"), history(found.history)),
            h("section", { class: "panel", "aria-labelledby": "last" },
                h("h2", { id: "last" }, "Last decisions for it"),
                table("Last decisions for it", decisionColumns(false), found.decisions, { empty: "it was not chosen lately" }))));
}

function reasons({ state: name, reason, in_doubt: doubt, override }) {
    const order = override && (override.reason || override.by)
        ? `; ordered${override.by ? ` by ${override.by}` : ""}${override.reason ? `: ${override.reason}` : ""}` : "";
    return `${name !== "up" && reason ? `: ${reason}` : ""}${doubt ? `; in doubt: ${doubt}` : ""}${order}`;
}

function buttons(found) {
    return h("div", { class: "bar" },
        h("button", { class: "primary", disabled: found.override?.drain === true, onclick: () => askDrain(found) }, "Drain"),
        h("button", { onclick: () => askWeight(found) }, "Weight"),
        h("button", { disabled: !found.override, onclick: () => askUndo(found) }, "Undo"));
}

function facts(found) {
    const fact = (name, value, more = "") => h("div", {}, h("dt", {}, name), h("dd", {}, value, more && h("span", { class: "muted" }, " ", more)));
    const { override } = found, until = override?.until;
    return h("dl", { class: "facts" },
        fact("Last report", found.report_age_seconds === null ? "none" : `${duration(found.report_age_seconds)} ago`),
        fact("Jobs it reported", figure(found.pending)),
        fact("Jobs expected now", figure(found.jobs)),
        fact("Handed to it since", figure(found.assigned)),
        fact("Learned speed", `${figure(found.rate)} jobs/s`),
        fact("Doubt", percent(found.doubt), found.doubt >= 1 ? "it seems to fail jobs" : "that it fails jobs"),
        fact("GPU memory in use", percent(found.utilization)),
        fact("Weight", figure(found.weight), found.weight === 1 ? "" : "times the usual share"),
        fact("Order", override ? (override.drain ? "no jobs" : "weight") : "none", until ? ["ends ", ago(until)] : ""),
        fact("Containers", found.containers.length
            ? [found.containers.slice(0, MOST_NAMED).flatMap((id, position) => [position ? ", " : "", h("a", { href: link("nodes", { container: id }) }, cut(id, 100))]),
                found.containers.length > MOST_NAMED && ` and ${count(found.containers.length - MOST_NAMED)} more`]
            : "unknown"),
        fact("Named by", found.sources.join(", ") || "–"));
}

function history(entries) {
    return table("History", [
        { title: "When", cell: (each) => ago(each.time) },
        { title: "State", cell: (each) => state(each.state) },
        { title: "Reason", wide: true, cell: (each) => each.reason },
    ], entries, { empty: "nothing has changed since it was added" });
}
