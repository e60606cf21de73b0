// Small parts of the Fill tab: a segmented control, a menu that drops down, a question with two answers, a switch.

import { button, h, icon } from "./dom.js";

let made = 0;

/** The menus that were made: whoever builds the room puts them into it. */
export const menus = [];

/** A radio group drawn as segments: arrows choose, as everywhere. `options` are [value, label]. */
export function choices(label, options, chosen, pick) {
  const element = h("div", { class: "wb-segments wb-choices", role: "radiogroup", "aria-label": label });
  let value = chosen;
  const parts = options.map(([name, words]) => {
    const part = h("button", { type: "button", role: "radio", "data-value": name }, words);
    part.addEventListener("click", () => take(name, true));
    return [name, part];
  });
  element.append(...parts.map(([, part]) => part));
  element.addEventListener("keydown", (event) => {
    const way = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!way) return;
    event.preventDefault();
    event.stopPropagation();
    const at = parts.findIndex(([name]) => name === value);
    const [name, part] = parts[(at + way + parts.length) % parts.length];
    take(name, true);
    part.focus();
  });

  function take(name, tell = false) {
    const fresh = name !== value;
    value = name;
    for (const [other, part] of parts) {
      part.setAttribute("aria-checked", String(other === value));
      part.tabIndex = other === value ? 0 : -1;
    }
    if (tell && fresh) pick(value);
  }
  take(chosen);
  return { element, set: (name) => take(name), value: () => value };
}

/** A checkbox with its words. */
export function toggle(label, checked, turned) {
  const box = h("input", { type: "checkbox", onchange: () => turned(box.checked) });
  box.checked = checked;
  return { element: h("label", { class: "wb-check" }, box, h("span", {}, label)), set: (on) => (box.checked = on), value: () => box.checked, box };
}

/** A native choice. `options` are [value, label]. */
export function select(label, options, pick) {
  const field = h("select", { class: "wb-select", "aria-label": label }, ...options.map(([value, words]) => h("option", { value }, words)));
  field.addEventListener("change", () => pick(field.value));
  return { element: field, set: (value) => (field.value = value), value: () => field.value };
}

/**
 * A button that opens a menu below itself. `items()` gives its rows anew each time: {label, icon, note, act, current,
 * danger, disabled} or "-"; a row may be an element of its own (a panel with fields has the role "dialog"). Arrows walk,
 * Esc closes.
 */
export function menu(opener, label, items, role = "menu") {
  const id = `wb-menu-${(made += 1)}`;
  const list = h("div", { class: "wb-menu", id, role, popover: "auto", "aria-label": label });
  opener.setAttribute("popovertarget", id);
  opener.setAttribute("aria-haspopup", role);
  opener.setAttribute("aria-expanded", "false");
  menus.push(list);

  const rows = () => [...list.querySelectorAll("button:not([disabled])")].filter((entry) => !entry.hidden);

  function row(item) {
    if (item === "-") return h("hr", {});
    if (item instanceof Element) return item;
    const words = h("span", { class: "wb-menu-words" }, h("span", {}, item.label), item.note ? h("small", {}, item.note) : null);
    const entry = h("button", { type: "button", role: "menuitem", class: item.danger ? "danger" : "", disabled: item.disabled, "aria-current": item.current ? "true" : null }, item.icon ? icon(item.icon, true) : null, words);
    entry.addEventListener("click", () => {
      close();
      item.act();
    });
    return entry;
  }

  function close() {
    if (list.matches(":popover-open")) list.hidePopover();
  }

  function draw() {
    list.replaceChildren(...items().filter(Boolean).map(row));
  }

  list.addEventListener("beforetoggle", (event) => {
    if (event.newState === "open") draw();
  });
  list.addEventListener("toggle", (event) => {
    const open = event.newState === "open";
    opener.setAttribute("aria-expanded", String(open));
    if (!open) return;
    place();
    (rows()[0] ?? list.querySelector("input, select"))?.focus();
  });
  list.addEventListener("keydown", (event) => {
    const all = rows();
    const at = all.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (to === undefined || role !== "menu" || event.target.matches("input")) return;
    event.preventDefault();
    all[(to + all.length) % all.length]?.focus();
  });

  /** Below the opener, or above it where there is more room; never beyond the window. */
  function place() {
    const from = opener.getBoundingClientRect();
    const { offsetWidth: wide, offsetHeight: tall } = list;
    const below = innerHeight - from.bottom - 12;
    const up = tall > below && from.top > below;
    list.style.maxHeight = `${Math.max(120, (up ? from.top : innerHeight - from.bottom) - 16)}px`;
    list.style.left = `${Math.max(8, Math.min(from.left, innerWidth - wide - 8))}px`;
    list.style.top = `${up ? Math.max(8, from.top - Math.min(tall, from.top - 16) - 6) : from.bottom + 6}px`;
  }
  return { close, redraw: () => list.matches(":popover-open") && draw(), element: list };
}

/** Asks in a dialog. `answers` are [value, label, look]; resolves with a value, or null on Esc. */
export function ask(title, words, answers) {
  return new Promise((resolve) => {
    let answer = null;
    const dialog = h(
      "dialog",
      { class: "wb-dialog wb-question", "aria-label": title },
      h("h2", {}, title),
      words ? h("p", {}, words) : null,
      h("div", { class: "wb-question-foot" }, ...answers.map(([value, label, look = ""]) => button(look, label, null, () => ((answer = value), dialog.close())))),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(answer);
    });
    document.querySelector(".gradio-container").append(dialog);
    dialog.showModal();
  });
}

/** Asks for a line of text; null on Esc. */
export function askWords(title, value, label) {
  return new Promise((resolve) => {
    let answer = null;
    const field = h("input", { type: "text", class: "wb-field", maxlength: "120", "aria-label": title });
    field.value = value;
    const form = h("form", {}, field, h("div", { class: "wb-question-foot" }, button("quiet", "Cancel", null, () => dialog.close()), h("button", { class: "wb-btn primary" }, label)));
    const dialog = h("dialog", { class: "wb-dialog wb-question", "aria-label": title }, h("h2", {}, title), form);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      answer = field.value.trim() || null;
      dialog.close();
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(answer);
    });
    document.querySelector(".gradio-container").append(dialog);
    dialog.showModal();
    field.select();
  });
}

/** "4,297" */
export const count = (value) => Math.round(value).toLocaleString("en");
