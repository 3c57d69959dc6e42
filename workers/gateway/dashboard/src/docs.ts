// The API's page: the OpenAPI document, with a form for each request. Nothing is loaded from other hosts.

import { el } from "./dom";
import { theme } from "./theme";

interface Schema {
  $ref?: string;
  type?: string | string[];
  items?: Schema;
  properties?: Record<string, Schema>;
  enum?: string[];
  description?: string;
  oneOf?: Schema[];
  allOf?: Schema[];
  minimum?: number;
  maximum?: number;
}

interface Operation {
  summary?: string;
  description?: string;
  tags?: string[];
  parameters?: { name: string; required?: boolean; description?: string; schema?: Schema }[];
  responses: Record<string, { description: string; content?: Record<string, { schema?: Schema }> }>;
}

interface Document {
  info: { title: string; version: string; description: string };
  tags: { name: string; description: string }[];
  paths: Record<string, { get?: Operation }>;
  components: { schemas: Record<string, Schema> };
}

const main = document.getElementById("main") as HTMLElement;
theme(() => {});

function name(schema: Schema | undefined): string {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop() ?? "";
  if (schema.oneOf || schema.allOf) return [...(schema.oneOf ?? []), ...(schema.allOf ?? [])].map(name).filter((part) => part !== "null").join(" or ");
  const type = Array.isArray(schema.type) ? schema.type.join(" or ") : (schema.type ?? "");
  return schema.items ? `list of ${name(schema.items)}` : schema.enum ? schema.enum.join(" | ") : type;
}

function operation(path: string, { summary, description, parameters = [], responses }: Operation): HTMLElement {
  const out = el("pre", { hidden: true, tabindex: 0 });
  const streams = path === "/api/v1/live" || path === "/api/v1/stream";
  const form = el("form", {
    submit: async (event: Event) => {
      event.preventDefault();
      const query = new URLSearchParams();
      for (const [key, value] of new FormData(form)) if (value !== "") query.set(key, String(value));
      const url = query.size > 0 ? `${path}?${query}` : path;
      out.hidden = false;
      out.textContent = "…";
      try {
        const response = await fetch(url);
        const text = await response.text();
        const shown = response.headers.get("content-type")?.includes("json") ? JSON.stringify(JSON.parse(text), null, 2) : text;
        out.textContent = `GET ${url}\n${response.status} ${response.statusText}\n\n${shown.slice(0, 50_000)}`;
      } catch (error) {
        out.textContent = `GET ${url}\n${String(error)}`;
      }
    },
  });
  for (const parameter of parameters) {
    const id = `${path} ${parameter.name}`;
    const choices = parameter.schema?.enum ?? parameter.schema?.oneOf?.find((one) => one.enum)?.enum;
    const field = choices
      ? el("select", { id, name: parameter.name }, el("option"), ...choices.map((choice) => el("option", {}, choice)))
      : el("input", { id, name: parameter.name, required: parameter.required ?? false });
    form.append(el("label", { for: id }, parameter.name), el("span", {}, field, " ", el("small", {}, parameter.description ?? "")));
  }
  if (!streams) form.append(el("p", {}, el("button", {}, "Send request")));
  const answers = Object.entries(responses).map(([status, response]) => {
    const kinds = Object.entries(response.content ?? {}).map(([kind, content]) => `${kind} ${name(content.schema)}`.trim());
    return el("tr", {}, el("td", {}, status), el("td", {}, response.description), el("td", {}, kinds.join(", ")));
  });
  return el("article", {}, el("h3", {}, `GET ${path}`), el("p", {}, summary ?? "", " ", description ?? ""), form, out, el("table", {}, el("tbody", {}, ...answers)));
}

function schema(title: string, { description, properties = {}, enum: choices }: Schema): HTMLElement {
  const fields = Object.entries(properties).map(([field, of]) => el("tr", {}, el("td", {}, field), el("td", {}, name(of)), el("td", {}, of.description ?? "")));
  return el("article", { id: title }, el("h3", {}, title), el("p", {}, description ?? "", " ", choices?.join(" | ") ?? ""), el("table", {}, el("tbody", {}, ...fields)));
}

async function load(): Promise<void> {
  const response = await fetch("/api/v1/openapi.json");
  const { info, tags, paths, components } = (await response.json()) as Document;
  const groups = tags.flatMap((tag) => {
    const operations = Object.entries(paths).flatMap(([path, { get }]) => (get?.tags?.includes(tag.name) ? [operation(path, get)] : []));
    return [el("h2", {}, tag.description), ...operations];
  });
  const errors = el("article", { id: "no-window" }, el("h3", {}, "No such window"), el("p", {}, "A window is answered for from the time that all its input partitions have sealed it until it is a day old (weir serve --keep-hours). Before the first one is sealed there is none: that takes the window's end, the wait for events out of order (30 s), and an event after that."));
  main.replaceChildren(el("p", {}, info.description), ...groups, el("h2", {}, "Errors"), errors, el("h2", {}, "Values"), ...Object.entries(components.schemas).map(([title, of]) => schema(title, of)));
}

load().catch((error) => {
  main.textContent = `The API's document could not be read: ${String(error)}`;
});
