// Dark or light as in the system's settings, unless it was chosen here; the same on every page of the gateway.

import { setText, byId } from "./dom";

type Theme = "dark" | "light";

/** Applies the theme to the page and to its button; `changed` is called now and after each change. */
export function theme(changed: () => void): void {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const show = (chosen?: Theme) => {
    let kept: string | null = null;
    try {
      if (chosen) localStorage.setItem("theme", chosen);
      kept = localStorage.getItem("theme");
    } catch {
      // No storage: the system's setting.
    }
    const now = chosen ?? kept ?? (system.matches ? "dark" : "light");
    document.documentElement.dataset.theme = now;
    const button = byId("theme");
    setText(button, now === "dark" ? "Light" : "Dark");
    button.onclick = () => show(now === "dark" ? "light" : "dark");
    changed();
  };
  show();
  system.addEventListener("change", () => show());
}
