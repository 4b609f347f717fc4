// The keys of the page, and the button that copies its address. Loaded with each page, it listens once.
(() => {
  if (window.opskitKeys) return;
  window.opskitKeys = true;

  const isTyping = (element) =>
    element && (element.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(element.tagName));

  const copied = (text) => {
    // Without https there is no clipboard but this one.
    const area = document.createElement("textarea");
    area.value = text;
    area.style.position = "fixed";
    area.style.opacity = "0";
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  };

  const copyLink = async (button) => {
    let done = true;
    try {
      await navigator.clipboard.writeText(window.location.href);
    } catch {
      done = copied(window.location.href);
    }
    if (!button) return;
    const words = button.textContent;
    button.textContent = done ? "Copied" : "Copy it from the address bar";
    setTimeout(() => { button.textContent = words; }, 1500);
  };

  const search = () => document.querySelector(".st-key-search input");

  const focusSearch = () => {
    if (search()) {
      search().focus();
      search().select();
      return;
    }
    follow("files");
    const began = Date.now();
    const wait = setInterval(() => {
      if (search()) search().focus();
      if (search() || Date.now() - began > 10000) clearInterval(wait);
    }, 50);
  };

  const links = () => [...document.querySelectorAll("[data-testid=stTopNavLink], [data-testid=stSidebarNavLink]")];

  const follow = (place) => {
    const found = links().find((link) => new URL(link.href).pathname.replace(/^.*\//, "") === place);
    if (found) found.click();
  };

  const list = () => document.querySelector("dialog.shortcuts");

  document.addEventListener("click", (event) => {
    const button = event.target.closest ? event.target.closest("[data-copy-link], [data-shortcuts]") : null;
    if (!button) return;
    if (button.hasAttribute("data-copy-link")) copyLink(button);
    else if (list().open) list().close();
    else list().showModal();
  });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    if (document.querySelector("[role=dialog], dialog[open]")) return;
    const places = ["", "nodes", "files", "failures", "cleanup", "timeline", "doctor", "history"];
    if (event.key === "/") focusSearch();
    else if (event.key === "?") list()?.showModal();
    else if (event.key === "l") copyLink(document.querySelector("[data-copy-link]"));
    else if (/^[1-8]$/.test(event.key)) follow(places[Number(event.key) - 1]);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }, true);
})();
