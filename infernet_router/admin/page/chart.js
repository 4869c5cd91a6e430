/** Charts: lines over time, drawn as SVG. */

import { h, svg } from "./dom.js";

const WIDTH = 600;
const HEIGHT = 100;
/** The least points of time that a sparkline is wide. */
const LEAST = 12;
/** The milliseconds between two samples from which on nobody knows what was in between. */
const GAP = 8000;

/** The path of a line through points of [x, y] in the viewBox; y of null interrupts it. */
function path(points) {
    let pen = "M", text = "";
    for (const [x, y] of points) {
        if (y === null) {
            pen = "M";
        } else {
            text += `${pen}${x.toFixed(1)} ${y.toFixed(1)}${pen === "M" ? "h0" : ""}`;  // a dot, if nothing follows
            pen = "L";
        }
    }
    return text;
}

/** The parts of a line without an interruption. */
function runs(points) {
    const found = [[]];
    for (const point of points) {
        if (point[1] !== null) found.at(-1).push(point);
        else if (found.at(-1).length) found.push([]);
    }
    return found.filter((run) => run.length);
}

const box = (...children) =>
    svg("svg", { class: "lines", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" }, ...children);

/**
 * A sparkline: what happened lately, with its name and present value.
 *
 * @param {string} name
 * @param {string} value the present one, in words
 * @param {(number | null)[]} numbers oldest first
 * @param {{interval: number, words: (number) => string, bad?: boolean, floor?: boolean}} options
 *     `interval` is the seconds between two numbers; with `floor`, the bottom is not 0
 */
export function sparkline(name, value, numbers, { interval, words, bad = false, floor = false }) {
    const points = Math.max(numbers.length, LEAST), minutes = Math.round((points * interval) / 60);
    const known = numbers.filter((number) => number !== null);
    const least = known.length ? Math.min(...known) : 0, most = known.length ? Math.max(...known) : 0;
    const bottom = floor ? Math.max(0, least - 0.15 * (most || 1)) : 0;
    const range = Math.max(most - bottom, 1e-9);
    const step = WIDTH / Math.max(points - 1, 1), first = points - numbers.length;
    const line = numbers.map((number, position) =>
        [(first + position) * step, number === null ? null : HEIGHT - 2 - (HEIGHT - 6) * (number - bottom) / range]);
    const area = runs(line).map((run) =>
        `${path(run)}L${run.at(-1)[0].toFixed(1)} ${HEIGHT}L${run[0][0].toFixed(1)} ${HEIGHT}Z`).join("");
    const described = known.length
        ? `${name}: ${value} now; over the last ${minutes} minutes between ${words(least)} and ${words(most)}`
        : `${name}: ${value} now`;
    return h("figure", { class: `panel spark${bad ? " bad" : ""}`, role: "img", "aria-label": described },
        h("figcaption", { class: "bar" }, h("span", { class: "muted" }, name), h("b", {}, value)),
        box(svg("path", { class: "area", d: area }), svg("path", { d: path(line) })),
        h("div", { class: "bar small muted" }, h("span", {}, `${minutes} min`),
            known.length > 1 && h("span", {}, least === most ? words(most) : `${words(least)} to ${words(most)}`)));
}

/**
 * Expected and reported queues over time.
 *
 * @param {{time: number, expected: number, reported: number | null}[]} samples oldest first; time in ms
 * @param {number} until the time at the right edge
 * @param {number} span the seconds shown
 */
export function queues(samples, until, span) {
    const from = until - span * 1000;
    const shown = samples.filter((sample) => sample.time >= from);
    const most = Math.max(4, ...shown.map(({ expected, reported }) => Math.max(expected, reported ?? 0)));
    const top = [4, 8, 12, 20, 40, 80, 120, 200, 400, 800].find((each) => each >= most) ?? Math.ceil(most / 1000) * 1000;
    const x = (time) => (WIDTH * (time - from)) / (span * 1000);
    const y = (jobs) => HEIGHT - (HEIGHT * jobs) / top;
    const expected = [], reported = [];
    shown.forEach((sample, position) => {
        const before = position ? shown[position - 1] : null, at = x(sample.time);
        if (before && sample.time - before.time > GAP) {
            expected.push([at, null]);
            reported.push([at, null]);
        } else if (before && before.reported !== null && sample.reported !== null) {
            reported.push([at, y(before.reported)]);
        }
        expected.push([at, y(sample.expected)]);
        reported.push([at, sample.reported === null ? null : y(sample.reported)]);
    });
    const last = shown.at(-1);
    const described = last
        ? `Jobs over time. Expected now ${last.expected.toFixed(1)}, reported ${last.reported ?? "nothing"}.`
        : "Jobs over time; nothing is known yet.";
    return h("figure", { role: "img", "aria-label": described },
        h("figcaption", { class: "small" },
            h("span", { class: "key" }, "expected by the router"), h("span", { class: "key second" }, "reported by the node")),
        h("div", { class: "chart small muted" },
            h("div", { class: "y" }, h("span", {}, top), h("span", {}, top / 2), h("span", {}, 0)),
            box([0, 0.5, 1].map((part) => svg("path", { class: "grid", d: `M0 ${part * HEIGHT}H${WIDTH}` })),
                svg("path", { d: path(expected) }), svg("path", { class: "second", d: path(reported) })),
            h("div", { class: "x" }, h("span", {}, `${Math.round(span / 60)} min ago`), h("span", {}, "now"))));
}
