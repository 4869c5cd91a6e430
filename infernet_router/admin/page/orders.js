/** Orders: asks before a node is drained or weighed, with what would change, and gives the order. */

import { change, get, now } from "./api.js";
import { h, table } from "./dom.js";
import { ago, count, figure, percent } from "./words.js";

const TIME = "[0-9]+[smhd]";

/** Tell whoever uses the page that something is done, for a while. */
function say(text) {
    const message = document.getElementById("message");
    message.textContent = text;
    setTimeout(() => { if (message.textContent === text) message.textContent = ""; }, 6000);
}

/**
 * Ask in a dialog.
 *
 * @param {{title: string, content: any[], verb: string, act: (form: HTMLFormElement, force: boolean) => Promise<string>}} question
 *     `act` gives the order and says what is done
 */
function ask({ title, content, verb, act }) {
    const error = h("p", { class: "error", role: "alert" });
    const button = h("button", { class: "primary" }, verb);
    let force = false;
    const send = async (event) => {
        event.preventDefault();
        button.disabled = true;
        error.textContent = "";
        try {
            const done = await act(event.target, force);
            dialog.close();
            say(done);
            document.dispatchEvent(new CustomEvent("changed"));
        } catch (failure) {
            error.textContent = failure.status === undefined ? "no connection to the router" : failure.message;
            if (failure.status === 409) {
                force = true;
                button.textContent = `${verb} all the same`;
            }
        } finally {
            button.disabled = false;
        }
    };
    const dialog = h("dialog", { "aria-labelledby": "question" },
        h("form", { onsubmit: send },
            h("h2", { id: "question" }, title), ...content, error,
            h("div", { class: "buttons" }, h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"), button)));
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
}

/**
 * Fields for the reason of an order and the time until it ends.
 *
 * @param {?object} shared the order that it becomes a part of, which has one end for both
 */
const fields = (shared) => [
    h("label", {}, "Reason", h("input", { name: "reason", required: true, maxlength: 500, autocomplete: "off" })),
    shared
        ? h("p", { class: "muted" }, `${shared.drain ? "The drain" : `The weight ${figure(shared.weight)}`} stays; both end `,
            shared.until ? ago(shared.until) : "when they are undone", ".")
        : h("label", {}, "For how long (30m, 2h, 1d; empty until it is undone)",
            h("input", { name: "for", pattern: TIME, title: "a whole number and s, m, h or d", autocomplete: "off", placeholder: "2h" })),
];

const path = (address) => `nodes/${encodeURIComponent(address)}/override`;

/** The time that is left of an order, as a new one wants it; empty for one without an end. */
const left = ({ until }) => (until ? `${Math.max(1, Math.ceil((new Date(until) - now()) / 1000))}s` : "");

async function order(address, content, form, force, shared) {
    const length = shared ? left(shared) : form.elements.for.value.trim();
    const given = await change("PUT", path(address), {
        ...content, reason: form.elements.reason.value.trim(), ...(length ? { for: length } : {}), ...(force ? { force } : {}),
    });
    return given.persisted === false ? "; a restart ends it, as the router runs without --state" : "";
}

/** Drain a node, after a look at what would be left. */
export function askDrain({ address, override }) {
    const shared = override?.weight ? override : null, kept = shared ? { weight: shared.weight } : {};
    ask({
        title: `Drain ${address}?`,
        content: [h("p", {}, "It gets no job any more, and finishes those it has."), forecast(address), ...fields(shared)],
        verb: "Drain",
        act: async (form, force) => `${address} is drained${await order(address, { drain: true, ...kept }, form, force, shared)}`,
    });
}

/** Give a node a weight. */
export function askWeight(found) {
    const { address, override, weight } = found, isDrained = override?.drain ?? false;
    const share = shares(found, { isDrained, weight });
    const shared = override?.drain ? override : null, kept = shared ? { drain: true } : {};
    ask({
        title: `Weight of ${address}`,
        content: [
            h("p", {}, "How many times the share of an ordinary node it gets: 2 for twice as many jobs, 0.5 for half."),
            h("label", {}, "Weight, from 0.1 to 10", h("input", {
                name: "weight", type: "number", min: 0.1, max: 10, step: "any", required: true, value: weight,
                oninput: (event) => share.show({ isDrained, weight: Number(event.target.value) }),
            })),
            share.place,
            ...fields(shared),
        ],
        verb: "Set weight",
        act: async (form, force) => {
            const chosen = Number(form.elements.weight.value);
            return `${address} has weight ${figure(chosen)}${await order(address, { weight: chosen, ...kept }, form, force, shared)}`;
        },
    });
}

/** End the order of a node. */
export function askUndo(found) {
    const { address, override } = found;
    const words = override.drain ? "It gets jobs again." : "It gets the share of an ordinary node again.";
    ask({
        title: `Undo the order for ${address}?`,
        content: [
            h("p", {}, words, override.reason && ` The order says: ${override.reason}`),
            shares(found, { isDrained: false, weight: 1 }).place,
        ],
        verb: "Undo",
        act: async () => {
            await change("DELETE", path(address));
            return `the order for ${address} is undone`;
        },
    });
}

const arrow = ([now, then], words) => `${words(now)} → ${words(then)}`;

/**
 * What share of the jobs a node gets, now and then, where all others have the weight 1; it comes when
 * it is there, and `show` shows it anew.
 */
function shares({ containers: ids, override, weight }, then) {
    const place = h("div", { role: "status" }), before = { isDrained: override?.drain ?? false, weight };
    let all = [], last = then;
    const show = (wanted) => {
        last = wanted;
        const rows = all.filter(({ id }) => ids.includes(id)).map(({ id, nodes }) => {
            const others = (nodes.up ?? 0) + (nodes.suspect ?? 0) - (before.isDrained ? 0 : 1);
            const pair = [before, wanted];
            return {
                id, nodes: pair.map(({ isDrained }) => others + (isDrained ? 0 : 1)),
                share: pair.map((each) => (each.isDrained ? 0 : each.weight / (others + each.weight))),
            };
        });
        place.replaceChildren(table("What would change", [
            { title: "Container", cell: ({ id }) => id },
            { title: "Nodes", number: true, cell: ({ nodes }) => arrow(nodes, count) },
            { title: "Its share of the jobs, about", number: true, cell: ({ share }) => arrow(share, (part) => `${figure(part * 100)} %`) },
        ], rows, { empty: "what it runs is not known" }));
    };
    const load = () => get("containers").then(({ containers }) => {
        all = containers;
        show(last);
        setTimeout(() => { if (place.isConnected) load(); }, 2000);
    }, (error) => place.replaceChildren(h("p", { class: "error" }, error.message)));
    load();
    return { place, show };
}

/** What would change if a node were drained; it comes when it is there. */
function forecast(address) {
    const place = h("div", { role: "status" }, h("p", { class: "muted" }, "looking at what would be left"));
    get(`whatif?drain=${encodeURIComponent(address)}`).then(({ containers, notes }) => {
        const changed = containers.filter(({ nodes: [now, then] }) => now !== then);
        place.replaceChildren(
            table("What would be left", [
                { title: "Container", cell: ({ id }) => id },
                { title: "Nodes", number: true, cell: ({ nodes }) => arrow(nodes, count) },
                { title: "Jobs/s possible", number: true, cell: (each) => arrow(each.capacity_jobs_per_second, figure) },
                { title: "Busy", number: true, cell: ({ utilization }) => arrow(utilization, percent) },
            ], changed, { empty: "no container would have fewer nodes" }),
            h("ul", { class: "notes" }, notes.map((note) => h("li", {}, note))));
    }, (error) => place.replaceChildren(h("p", { class: "error" }, error.message)));
    return place;
}
