/** Words: numbers, times, states and links as people read them. */

import { now } from "./api.js";
import { h } from "./dom.js";

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const SIGNIFICANT = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const BRIEF = new Intl.NumberFormat("en", { maximumSignificantDigits: 2 });
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });

/** A whole number. */
export const count = (number) => WHOLE.format(number);

/** A number with three digits; a dash when it is not known. */
export const figure = (number) =>
    number === null || number === undefined ? "–"
        : Math.abs(number) >= 1000 ? WHOLE.format(number)
        : SIGNIFICANT.format(Math.abs(number) < 0.005 ? 0 : number);

/** A share, in percent. */
export const percent = (share) => (share === null || share === undefined ? "–" : `${WHOLE.format(share * 100)} %`);

/** "1 node", "2 nodes". */
export const several = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

/** Seconds, in a unit that fits. */
export function duration(seconds) {
    if (seconds === null || seconds === undefined) return "–";
    if (seconds < 0.0995) return `${BRIEF.format(seconds * 1000)} ms`;
    if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
    if (seconds < 90) return `${Math.round(seconds)} s`;
    if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`;
    if (seconds < 36 * 3600) return `${Math.round(seconds / 3600)} h`;
    return `${Math.round(seconds / 86400)} days`;
}

/** How long ago an instant of the router was, with the exact time on hover. */
export function ago(time) {
    if (!time) return "–";
    const at = new Date(time), seconds = (now() - at) / 1000;
    const words = seconds < -1 ? `in ${duration(-seconds)}` : seconds < 1 ? "now" : `${duration(seconds)} ago`;
    return h("time", { datetime: time, title: `${DAY.format(at)}, ${CLOCK.format(at)}` }, words);
}

/** The time of day of an instant. */
export const clock = (time) => (time ? CLOCK.format(new Date(time)) : "–");

/** A state with its mark. */
export const state = (name) => h("span", { class: `state ${name}` }, name);

/** When a node came into its state; of a drained one, when that was ordered. */
export const since = ({ state: name, since: at, override }) => (name === "drained" && override?.drain ? override.given : at);

/** Why a node is as it is: its reason, why it is in doubt, and who drained it. */
export const why = ({ state: name, reason, in_doubt: doubt, override }) => [
    name !== "up" && reason,
    doubt && `in doubt: ${doubt}`,
    override?.drain && `drained by ${override.by}${override.reason ? `: ${override.reason}` : ""}`,
].filter(Boolean).join("; ");

/** The first of many names. */
export function some(names, most, separator = ", ") {
    const more = names.length - most;
    return names.slice(0, most).map((name) => cut(name, 100)).join(separator) + (more > 0 ? ` and ${count(more)} more` : "");
}

/** The beginning of a text that may be long. */
export const cut = (text, most) => (text.length > most ? `${text.slice(0, most)}…` : text);

/** The link of a view of this page. */
export function link(path, query = {}) {
    const pairs = Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined);
    const text = new URLSearchParams(pairs).toString();
    return `#/${path}${text && `?${text}`}`;
}

/** The link of a node. */
export const nodeLink = (address) => link(`node/${encodeURIComponent(address)}`);

/** A node, linked. */
export const node = (address) => h("a", { class: "address", href: nodeLink(address) }, address);
