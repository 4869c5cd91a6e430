/** The admin endpoint: reads and changes, with the token of whoever uses the page. */

import { askToken } from "./token.js";

const KEY = "infernet-router-token";
const answers = new Map();
let skew = 0;

/** The router's time of day, in milliseconds. */
export const now = () => Date.now() + skew;

/** An answer that is an error; `wait` is in seconds. */
export class Refused extends Error {
    constructor(status, message, wait = 0) {
        super(message);
        this.status = status;
        this.wait = wait;
    }
}

/** Read a path below /admin/v1/: the decoded JSON, the same object while it has not changed. */
export async function get(path) {
    const kept = answers.get(path);
    const response = await send("GET", path, kept ? { "If-None-Match": kept.tag } : {});
    if (response.status === 304) return kept.content;
    const content = await response.json();
    const tag = response.headers.get("ETag");
    if (tag) answers.set(path, { tag, content });
    return content;
}

/** Change something; the decoded answer, or null when there is none. */
export async function change(method, path, content) {
    const body = content === undefined ? {} : { body: JSON.stringify(content) };
    const headers = content === undefined ? {} : { "Content-Type": "application/json" };
    const response = await send(method, path, headers, body);
    return response.status === 204 ? null : response.json();
}

async function send(method, path, headers, body = {}) {
    for (;;) {
        const token = sessionStorage.getItem(KEY);
        const response = await fetch(`/admin/v1/${path}`, {
            ...body, method, cache: "no-store", credentials: "omit", redirect: "error",
            headers: { ...headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) },
        });
        const date = Date.parse(response.headers.get("Date"));
        if (Math.abs(date - now()) > 1500) skew = date - Date.now();
        if (response.ok || response.status === 304) return response;
        const said = await response.json().catch(() => ({}));
        const error = new Refused(response.status, said.error ?? `HTTP ${response.status}`,
            Number(response.headers.get("Retry-After")));
        if (response.status !== 401) throw error;
        const given = await askToken(token ? error.message : "");
        if (given === null) {
            sessionStorage.removeItem(KEY);
            throw error;
        }
        sessionStorage.setItem(KEY, given);
    }
}
