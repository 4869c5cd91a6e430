/** The token: asks for it, once for all that wait for it. */

import { h } from "./dom.js";

let asked = null;

/**
 * Ask for the token of an operator.
 *
 * @param {string} why what was wrong with the last one
 * @returns {Promise<string | null>} null when none was given
 */
export function askToken(why) {
    asked ??= ask(why).finally(() => { asked = null; });
    return asked;
}

function ask(why) {
    return new Promise((resolve) => {
        const input = h("input", { type: "password", name: "token", required: true, autocomplete: "off" });
        const dialog = h("dialog", { "aria-labelledby": "token-title" },
            h("form", { onsubmit: (event) => { event.preventDefault(); dialog.close(input.value.trim()); } },
                h("h2", { id: "token-title" }, "Your token"),
                h("p", {}, "The router wants to know who you are. The token is one of --admin-tokens, or ",
                    "INFERNET_ROUTER_ADMIN_TOKEN. It is kept in this tab until you close it."),
                why && h("p", { class: "error", role: "alert" }, why),
                h("label", {}, "Token", input),
                h("div", { class: "buttons" },
                    h("button", { type: "button", onclick: () => dialog.close("") }, "Cancel"),
                    h("button", { class: "primary" }, "Continue"))));
        dialog.addEventListener("close", () => {
            dialog.remove();
            resolve(dialog.returnValue || null);
        });
        document.body.append(dialog);
        dialog.showModal();
    });
}
