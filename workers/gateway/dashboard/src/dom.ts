// Elements are made here and only here, and text is only ever set as text: a page's URL can hold anything.

type Child = Node | string | null | undefined | false;
type Attributes = Record<string, string | number | boolean | ((event: Event) => void) | null | undefined>;

export function el<K extends keyof HTMLElementTagNameMap>(
  name: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(name);
  set(element, attributes);
  element.append(...children.filter((child): child is Node | string => !!child));
  return element;
}

export function svg(name: string, attributes: Attributes = {}, ...children: Node[]): SVGElement {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  set(element, attributes);
  element.append(...children);
  return element;
}

function set(element: Element, attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, String(value));
  }
}

/** The element with this id, which the page must have. */
export function byId(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}

/** Changes text only where it differs, so that a screen reader and a selection are left alone. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** A table that is laid out in lines on a narrow screen (`.stack`). Browsers then drop its table semantics, so the roles are explicit. */
export function stack(heads: HTMLElement[], body: HTMLElement): HTMLElement {
  body.setAttribute("role", "rowgroup");
  for (const head of heads) head.setAttribute("role", "columnheader");
  return el("table", { class: "stack", role: "table" }, el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...heads)), body);
}

/** A line of it; `titles` name its cells. */
export function line(titles: string[], first: Child = null): HTMLElement {
  const cells = titles.map((title, index) => el("td", { role: "cell", class: index > 0 ? "number" : null, "data-title": title }, index === 0 && first));
  return el("tr", { role: "row" }, ...cells);
}

/** Gives `parent` one child per item; reuses existing children. */
export function rows<T>(
  parent: HTMLElement,
  items: T[],
  make: () => HTMLElement,
  fill: (element: HTMLElement, item: T, index: number) => void,
): void {
  while (parent.children.length > items.length) parent.lastElementChild?.remove();
  while (parent.children.length < items.length) parent.append(make());
  items.forEach((item, index) => fill(parent.children[index] as HTMLElement, item, index));
}
