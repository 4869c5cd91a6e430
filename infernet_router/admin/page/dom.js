/**
 * Elements: made from tags, attributes and text, and changed as little as possible.
 *
 * Text only ever becomes a text node, so nothing that a node, a client or an operator says is markup.
 */

const SVG = "http://www.w3.org/2000/svg";
const EVENTS = ["onclick", "onsubmit", "onchange", "oninput"];

/** An HTML element. Attributes that are null, undefined or false are left out. */
export const h = (tag, attributes = {}, ...children) =>
    fill(document.createElement(tag), attributes, children);

/** An SVG element. */
export const svg = (tag, attributes = {}, ...children) =>
    fill(document.createElementNS(SVG, tag), attributes, children);

function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
        if (EVENTS.includes(name)) element[name] = value;
        else if (value === true) element.setAttribute(name, "");
        else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
    }
    element.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
    return element;
}

/**
 * Make an element like a fresh one, so that focus, selection and scrolling stay.
 *
 * What has data-keep is left alone while both have the same.
 */
export function morph(old, fresh) {
    if (old.nodeName !== fresh.nodeName || old.dataset?.keep !== fresh.dataset?.keep) {
        old.replaceWith(fresh);
        return;
    }
    if (old.nodeType === Node.TEXT_NODE) {
        if (old.data !== fresh.data) old.data = fresh.data;
        return;
    }
    if (old.dataset?.keep) return;
    for (const { name } of [...old.attributes]) {
        const isTheirs = name === "open" || name === "tabindex";  // set by whoever uses the page
        if (!isTheirs && !fresh.hasAttribute(name)) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
        if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    for (const name of EVENTS) old[name] = fresh[name];
    const children = [...fresh.childNodes];
    children.forEach((child, position) => {
        if (position < old.childNodes.length) morph(old.childNodes[position], child);
        else old.append(child);
    });
    while (old.childNodes.length > children.length) old.lastChild.remove();
    if (old.matches("input, select") && document.activeElement !== old) {
        if (old.value !== fresh.value) old.value = fresh.value;
        old.checked = fresh.checked;
    }
}

/**
 * A table.
 *
 * @param {string} caption what it is, for screen readers
 * @param {{title: any, number?: boolean, wide?: boolean, attributes?: object, cell: (item: any) => any}[]} columns
 * @param {any[]} items one for each row
 * @param {{className?: (item: any) => string, empty?: string}} options
 */
export function table(caption, columns, items, { className = () => null, empty = "none" } = {}) {
    const kind = (column) => (column.number ? "number" : column.wide ? "wide" : null);
    return h("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": caption },
        h("table", {},
            h("caption", { class: "unseen" }, caption),
            h("thead", {}, h("tr", {}, columns.map((column) =>
                h("th", { scope: "col", class: kind(column), ...column.attributes }, column.title)))),
            h("tbody", {},
                items.map((item) => h("tr", { class: className(item) }, columns.map((column, position) =>
                    h("td", { class: kind(column) }, column.cell(item))))),
                items.length === 0 && h("tr", {}, h("td", { colspan: columns.length, class: "muted" }, empty)))));
}
