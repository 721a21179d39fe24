// A button that turns the page dark or light; without it the page is as the system is.
(() => {
  "use strict";
  const button = document.getElementById("theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const set = (theme) => {
    document.documentElement.dataset.theme = theme;
    button.textContent = theme === "dark" ? "Light page" : "Dark page";
  };
  button.hidden = false;
  set(dark.matches ? "dark" : "light");
  button.addEventListener("click", () => set(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
})();
