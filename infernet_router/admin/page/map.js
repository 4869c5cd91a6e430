/** The map: one cell a node, with a hue and a shape by state and a lightness by expected wait. */

import { h } from "./dom.js";
import { count, nodeLink, some } from "./words.js";

const LARGEST = 32;
const SMALLEST = 2;
/** The least size of a cell of which the shape is seen, and the height that it may cost. */
const LEGIBLE = 4;
const HIGHEST = 900;
const LABEL = 24;

/** What a letter of the map stands for: the positions of its state and of its level of waiting. */
export function meaning(letter, data) {
    const position = ORDER[letter.charCodeAt(0)], levels = data.waits.length + 1;
    return [Math.floor(position / levels), position % levels];
}
// The router counts letters as Python does, from a to z and then from A to Z.
const ORDER = new Uint8Array(128);
[..."abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"].forEach((letter, position) => { ORDER[letter.charCodeAt(0)] = position; });

/** How many nodes have each state and each level of waiting: [state][level]. */
export function tally(data) {
    const counts = data.states.map(() => new Array(data.waits.length + 1).fill(0));
    for (const letter of data.letters) {
        const [state, level] = meaning(letter, data);
        counts[state][level] += 1;
    }
    return counts;
}

/** A level of waiting in words. Nodes that seem to fail jobs are at the last one. */
export function waiting(level, { waits }) {
    if (level === 0) return `under ${waits[0]} s`;
    return level < waits.length ? `${waits[level - 1]} to ${waits[level]} s` : `${waits.at(-1)} s or more, or in doubt`;
}

/** The set of containers that a group of nodes runs, in words. */
export const named = (containers) => (containers.length ? some(containers, 4, " + ") : "other or unknown containers");

/** A canvas that shows all nodes; `element` is to be put into the page. */
export class NodeMap {
    #data = null;
    #drawn = "";        // the letters on the canvas
    #places = [];       // by position on the map: the node there
    #spots = null;      // by node: x, y of its cell
    #labels = [];
    #size = 0;
    #width = 0;
    #cursor = -1;       // the position that keys move
    #shown = -1;        // the position that is named now

    constructor() {
        this.canvas = h("canvas", {
            tabindex: 0, role: "application", "aria-roledescription": "map",
            "aria-label": "Map of all nodes. Arrow keys move from node to node, Enter opens one.",
        });
        this.here = h("div", { class: "here" });
        this.tip = h("div", { class: "tip" });
        this.said = h("p", { class: "unseen", role: "status" });
        this.element = h("div", { class: "map" }, this.canvas, this.here, this.tip, this.said);
        this.canvas.addEventListener("mousemove", (event) => this.#point(this.#at(event), false));
        this.canvas.addEventListener("mouseleave", () => this.#point(-1, false));
        this.canvas.addEventListener("click", (event) => this.#open(this.#at(event)));
        this.canvas.addEventListener("keydown", (event) => this.#key(event));
        this.canvas.addEventListener("focus", () => {
            if (this.canvas.matches(":focus-visible")) this.#point(Math.max(this.#cursor, 0), true);
        });
        this.canvas.addEventListener("blur", () => this.#point(-1, false));
        new ResizeObserver(() => this.#layOut()).observe(this.element);
        matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#layOut(true));
    }

    /** Draw what has changed since the last time. */
    show(data) {
        const before = this.#data;
        this.#data = data;
        const isSame = before && before.list === data.list && before.set_of === data.set_of
            && before.letters.length === data.letters.length;
        if (isSame) this.#draw();
        else this.#layOut(true);
        if (this.#shown >= 0) this.#point(this.#shown, false);
    }

    /** The node that keys are at, for whoever comes back from it. */
    get address() {
        return this.#data?.addresses[this.#places[this.#cursor]] ?? null;
    }

    #layOut(isNew = false) {
        const width = this.element.clientWidth, data = this.#data;
        if (!data || !width || (width === this.#width && !isNew)) return;
        const groups = this.#groups();
        const most = Math.min(Math.max(innerHeight * 0.5, 240), 520);
        let size = LARGEST, height;
        for (; ; size -= size > 12 ? 2 : 1) {
            height = this.#place(groups, size, width);
            if (height <= (size > LEGIBLE ? most : HIGHEST) || size <= SMALLEST) break;
        }
        this.#size = size;
        this.#width = width;
        const scale = devicePixelRatio || 1;
        this.canvas.width = Math.round(width * scale);
        this.canvas.height = Math.max(1, Math.round(height * scale));
        this.canvas.style.height = `${height}px`;
        this.#drawn = "";
        this.#sheet = sprites(size, scale, data);
        this.#draw();
        this.#label(scale);
    }

    #sheet = null;

    /** By group of containers, or for all nodes: the nodes in it. */
    #groups() {
        const { letters, set_of: of, sets } = this.#data;
        if (!of) return [{ name: null, nodes: Array.from(letters, (_, node) => node) }];
        const groups = sets.map((containers) => ({ name: named(containers), nodes: [] }));
        of.forEach((set, node) => groups[set].nodes.push(node));
        return groups.filter(({ nodes }) => nodes.length);
    }

    /** Put cells of a size in place; returns the height of all. */
    #place(groups, size, width) {
        const columns = Math.max(1, Math.floor(width / size));
        this.#spots = new Float32Array(2 * this.#data.letters.length);
        this.#places = [];
        this.#labels = [];
        this.columns = columns;
        let top = 0;
        for (const { name, nodes } of groups) {
            if (name !== null) {
                this.#labels.push({ text: `${name}  ${count(nodes.length)}`, top });
                top += LABEL;
            }
            nodes.forEach((node, position) => {
                this.#spots[2 * node] = (position % columns) * size;
                this.#spots[2 * node + 1] = top + Math.floor(position / columns) * size;
                this.#places.push(node);
            });
            top += Math.ceil(nodes.length / columns) * size + (name === null ? 0 : 8);
        }
        return top;
    }

    #draw() {
        const context = this.canvas.getContext("2d"), scale = devicePixelRatio || 1;
        const { letters } = this.#data, side = Math.round(this.#size * scale);
        for (let node = 0; node < letters.length; node += 1) {
            if (letters[node] === this.#drawn[node]) continue;
            const x = Math.round(this.#spots[2 * node] * scale), y = Math.round(this.#spots[2 * node + 1] * scale);
            context.clearRect(x, y, side, side);
            context.drawImage(this.#sheet, ORDER[letters.charCodeAt(node)] * side, 0, side, side, x, y, side, side);
        }
        this.#drawn = letters;
    }

    #label(scale) {
        const context = this.canvas.getContext("2d"), style = getComputedStyle(this.element);
        context.fillStyle = style.color;
        context.font = `500 ${12 * scale}px ${style.fontFamily}`;
        context.textBaseline = "middle";
        for (const { text, top } of this.#labels) context.fillText(text, 0, (top + LABEL / 2) * scale, this.canvas.width);
    }

    /** The position on the map under the pointer, or -1. */
    #at(event) {
        const { offsetX: x, offsetY: y } = event, size = this.#size;
        return this.#places.findIndex((node) => {
            const left = x - this.#spots[2 * node], top = y - this.#spots[2 * node + 1];
            return left >= 0 && left < size && top >= 0 && top < size;
        });
    }

    /** Name the node at a position, or none. */
    #point(position, isSaid) {
        const node = this.#places[position], size = this.#size;
        this.#shown = node === undefined ? -1 : position;
        for (const each of [this.here, this.tip]) each.style.visibility = node === undefined ? "hidden" : "visible";
        if (node === undefined) return;
        const [state, level] = meaning(this.#data.letters[node], this.#data);
        const name = this.#data.states[state];
        const isThere = name !== "down" && name !== "unknown";
        this.tip.textContent = `${this.#data.addresses[node]}, ${name}${isThere ? `, a job waits ${waiting(level, this.#data)}` : ""}`;
        if (isSaid) this.said.textContent = this.tip.textContent;
        const x = this.#spots[2 * node], y = this.#spots[2 * node + 1];
        this.here.style.width = this.here.style.height = `${size}px`;
        this.here.style.transform = `translate(${x}px, ${y}px)`;
        const left = Math.min(Math.max(x + size / 2 - this.tip.offsetWidth / 2, 0), Math.max(this.#width - this.tip.offsetWidth, 0));
        const above = y - this.tip.offsetHeight - 8;
        this.tip.style.transform = `translate(${left}px, ${above < 0 ? y + size + 8 : above}px)`;
    }

    #key(event) {
        const last = this.#places.length - 1, at = Math.max(this.#cursor, 0);
        const to = {
            ArrowLeft: at - 1, ArrowRight: at + 1, ArrowUp: this.#beside(at, -1), ArrowDown: this.#beside(at, 1), Home: 0, End: last,
        }[event.key];
        if (to !== undefined) {
            event.preventDefault();
            this.#cursor = Math.min(Math.max(to, 0), last);
            this.#point(this.#cursor, true);
        } else if (event.key === "Enter" || event.key === " ") {
            event.preventDefault();
            this.#open(at);
        }
    }

    /** The position in the row above or below that is nearest. */
    #beside(position, step) {
        const place = (each) => [this.#spots[2 * this.#places[each]], this.#spots[2 * this.#places[each] + 1]];
        if (!this.#places.length) return 0;
        const [x, y] = place(position);
        let row = null, best = position;
        for (let each = position + step; each >= 0 && each < this.#places.length; each += step) {
            const [left, top] = place(each);
            if (top === y) continue;
            row ??= top;
            if (top !== row) break;
            if (best === position || Math.abs(left - x) < Math.abs(place(best)[0] - x)) best = each;
        }
        return best;
    }

    #open(position) {
        const node = this.#places[position];
        if (node === undefined) return;
        this.#cursor = position;
        location.hash = nodeLink(this.#data.addresses[node]);
    }
}

/** A canvas with the cell of each letter beside that of the one before. */
function sprites(size, scale, { states, waits }) {
    const side = Math.round(size * scale), levels = waits.length + 1;
    const style = getComputedStyle(document.documentElement), color = (name) => style.getPropertyValue(name).trim();
    const sheet = document.createElement("canvas");
    sheet.width = side * states.length * levels;
    sheet.height = side;
    const context = sheet.getContext("2d");
    const gap = Math.round((size >= 12 ? 2 : size >= 4 ? 1 : 0) * scale), cell = side - gap;
    states.forEach((state, position) => {
        for (let level = 0; level < levels; level += 1) {
            context.save();
            context.translate((position * levels + level) * side, 0);
            draw(context, state, cell, color(`--l${level}`), color);
            context.restore();
        }
    });
    return sheet;
}

/** Draw one cell. */
function draw(context, state, cell, lightness, color) {
    const stroke = Math.max(1, cell / 6);
    if (state === "up") {
        context.fillStyle = `oklch(${lightness} .06 185)`;
        context.fillRect(0, 0, cell, cell);
    } else if (state === "suspect") {
        context.fillStyle = context.strokeStyle = `oklch(${Math.min(Math.max(lightness, 0.5), 0.78)} .13 70)`;
        context.lineWidth = Math.max(1, stroke / 2);
        context.strokeRect(context.lineWidth / 2, context.lineWidth / 2, cell - context.lineWidth, cell - context.lineWidth);
        polygon(context, [[0, cell], [cell, cell], [cell, 0]]);
    } else if (state === "drained") {
        context.strokeStyle = `oklch(${Math.min(Math.max(lightness, 0.5), 0.75)} .12 290)`;
        context.lineWidth = Math.max(1, cell / 4);
        context.strokeRect(context.lineWidth / 2, context.lineWidth / 2, cell - context.lineWidth, cell - context.lineWidth);
    } else if (state === "down") {
        context.fillStyle = color("--fill");
        context.fillRect(0, 0, cell, cell);
        if (cell < 5) return;
        context.strokeStyle = color("--panel");
        context.lineWidth = stroke;
        for (const line of [[[0, 0], [cell, cell]], [[cell, 0], [0, cell]]]) {
            context.beginPath();
            context.moveTo(...line[0]);
            context.lineTo(...line[1]);
            context.stroke();
        }
    } else {
        context.fillStyle = color("--unknown");
        const radius = Math.max(0.75, cell / 5);
        context.beginPath();
        context.arc(cell / 2, cell / 2, radius, 0, 2 * Math.PI);
        context.fill();
    }
}

function polygon(context, points) {
    context.beginPath();
    points.forEach(([x, y]) => context.lineTo(x, y));
    context.fill();
}
