/** The page: finds the view that the address names, keeps it fresh while somebody looks, and says what is wrong. */

import * as choices from "./choices.js";
import * as lists from "./lists.js";
import * as nodeView from "./node.js";
import * as nodes from "./nodes.js";
import * as overviewView from "./overview.js";
import { get } from "./api.js";
import { h, morph } from "./dom.js";

/**
 * What a view has: `title`, `load` (what it shows, from the router), `show` (its element), and perhaps
 * `shown` (called when it is in the page), `back` (what to focus when somebody comes back to it),
 * `every` (seconds between two loads; 0 for once) and `opened` (whether Escape closes it).
 */
const VIEWS = {
    "": overviewView, nodes, node: nodeView, containers: lists.containers, decisions: choices.decisions,
    decision: choices.decision, try: choices.attempt, orders: lists.orders, setup: lists.setup,
};

const main = document.getElementById("main"), status = document.getElementById("status");
const trail = [];           // the addresses that led here
let route = null;           // the view that is shown, with its parameters
let timer = 0;
let turn = 0;               // counts the loads, so that late answers of old ones are dropped
let overview = null;
let loadedAt = 0;
let loadedRoute = null;

function parse(hash) {
    const [path, query] = hash.replace(/^#\/?/, "").split(/\?(.*)/s, 2);
    const [name, ...rest] = path.split("/");
    const view = Object.hasOwn(VIEWS, name) ? VIEWS[name] : VIEWS[""];
    let params = "";
    try {
        params = decodeURIComponent(rest.join("/"));
    } catch { /* no address has a lone percent sign: there is no such node */ }
    return { hash, name: view === overviewView ? "" : name, view, params, query: new URLSearchParams(query ?? "") };
}

function say(state, text) {
    status.dataset.is = state;
    if (status.textContent !== text) status.textContent = text;
    document.body.classList.toggle("stale", state === "lost");
}

/** Load what is shown again, now and then from time to time. */
async function refresh() {
    clearTimeout(timer);
    if (document.hidden) return;
    const mine = ++turn, here = route;
    let pause = 1;
    try {
        overview = await get("overview");
        pause = overview.page_interval_seconds ?? 1;
        const every = (here.view.every ?? 1) && Math.max(here.view.every ?? 1, pause);
        const isDue = loadedRoute !== here || (every && performance.now() - loadedAt > every * 1000 - 100);
        if (isDue) {
            const data = await here.view.load({ ...here, overview });
            if (mine !== turn) return;
            loadedAt = performance.now();
            render(here, data);
        }
        say("live", pause > 1 ? `live, every ${Math.round(pause)} s: many are looking` : "live");
        document.title = heading(here);
    } catch (error) {
        if (mine !== turn) return;
        pause = failed(here, error);
    }
    if (mine === turn && pause) timer = setTimeout(refresh, pause * 1000 * (pause > 1 ? 0.8 + 0.4 * Math.random() : 1));
}

function heading(here) {
    const { down } = overview.nodes;
    return `${down ? `${down} down · ` : ""}${here.view.title(here)} · Infernet Router`;
}

function render(here, data) {
    const fresh = here.view.show(data, here), old = main.firstElementChild;
    const isNew = loadedRoute?.name !== here.name || loadedRoute?.params !== here.params || !old?.matches(".view");
    if (isNew) main.replaceChildren(fresh);
    else morph(old, fresh);
    here.view.shown?.(main, data);
    if (loadedRoute !== here) arrive(here, isNew && loadedRoute !== null);
    loadedRoute = here;
}

/** Focus what somebody wants next: where they came back from, or the heading of what they opened. */
function arrive(here, isNew) {
    if (!isNew) return;
    const from = here.from ?? "";
    const link = [...main.querySelectorAll("a")].find((each) => each.getAttribute("href") === from);
    const next = (from && (here.view.back?.(from) ?? link)) || main.querySelector("h1");
    next?.focus({ preventScroll: !from });
    if (!from) scrollTo(0, 0);
}

/** Say what went wrong; returns the seconds to wait, 0 for ever. */
function failed(here, error) {
    if (error.status === undefined) {
        if (!(error instanceof TypeError)) console.error(error);
        say("lost", "no connection to the router: trying again");
        return 2;
    }
    if (error.status === 429) {
        say("lost", `the router is busy: ${error.message}`);
        return Math.max(error.wait, 2) * (1 + Math.random());
    }
    say(error.status === 401 ? "lost" : "live", error.status === 401 ? "no token" : "live");
    main.replaceChildren(h("div", { class: "view" },
        h("h1", { tabindex: -1 }, here.view.title(here)),
        h("p", { class: "error", role: "alert" }, error.message),
        error.status === 401 && h("p", {}, h("button", { onclick: refresh }, "Enter a token")),
        error.status === 404 && h("p", {}, h("a", { href: "#/" }, "To the overview"))));
    loadedRoute = null;
    return error.status === 401 ? 0 : 5;
}

function navigate() {
    const { hash } = location, before = route;
    const isBack = trail.length > 1 && trail.at(-2) === hash;
    if (isBack) trail.pop();
    else if (trail.at(-1) !== hash) trail.push(hash);
    route = parse(hash);
    if (isBack) route.from = before.hash;
    for (const link of document.querySelectorAll("nav a")) {
        const isHere = parse(link.getAttribute("href")).name === route.name;
        if (isHere) link.setAttribute("aria-current", "page");
        else link.removeAttribute("aria-current");
    }
    refresh();
}

addEventListener("hashchange", navigate);
addEventListener("online", refresh);
document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : refresh()));
document.addEventListener("changed", () => { loadedAt = 0; refresh(); });
document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.defaultPrevented || document.querySelector("dialog[open]")) return;
    if (!route.view.opened || event.target.matches?.("input, select")) return;
    if (trail.length > 1) history.back();
    else location.hash = "#/";
});
navigate();
