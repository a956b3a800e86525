import { changeSettings, page } from "./page.ts";

const prefersDark = matchMedia("(prefers-color-scheme: dark)");

export const isDark = () => {
  const { theme } = page.state.settings;
  return theme === "system" ? prefersDark.matches : theme === "dark";
};

/** Keeps the page in the system's colours, or in those that the user has chosen. */
export function followTheme(): void {
  const apply = () => {
    document.documentElement.dataset.theme = isDark() ? "dark" : "light";
  };
  apply();
  prefersDark.addEventListener("change", apply);
  page.subscribe(apply);
}

/** To the other side; back at what the system says, it follows the system again. */
export function toggleTheme(): void {
  const next = isDark() ? "light" : "dark";
  changeSettings({ theme: (next === "dark") === prefersDark.matches ? "system" : next });
}
