// Dark or light as the system has it, unless it was chosen here; the same on every page of the gateway.

import { say, the } from "./dom";

type Theme = "dark" | "light";

/** Puts the theme on the page and on its button; `changed` is called then and whenever it changes. */
export function theme(changed: () => void): void {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const show = (chosen?: Theme) => {
    let kept: string | null = null;
    try {
      if (chosen) localStorage.setItem("theme", chosen);
      kept = localStorage.getItem("theme");
    } catch {
      // No storage: as the system has it.
    }
    const now = chosen ?? kept ?? (system.matches ? "dark" : "light");
    document.documentElement.dataset.theme = now;
    const button = the("theme");
    say(button, now === "dark" ? "Light" : "Dark");
    button.onclick = () => show(now === "dark" ? "light" : "dark");
    changed();
  };
  show();
  system.addEventListener("change", () => show());
}
