(() => {
  const flaws = [];
  const root = document.documentElement;
  if (document.title !== "pfnwatch") flaws.push(`the title is ${document.title}`);
  if (document.scripts.length > 0) flaws.push("there is a script");
  if (document.querySelectorAll("h1").length !== 1) flaws.push("there is not one h1");
  if (document.styleSheets.length !== 1) flaws.push("there is not one style sheet");
  if (root.scrollWidth > root.clientWidth) flaws.push(`it is ${root.scrollWidth} wide in ${root.clientWidth}`);
  for (const bar of document.querySelectorAll("svg")) {
    if (!bar.getAttribute("aria-label")) flaws.push("a bar without words");
    if (bar.getBoundingClientRect().height < 8) flaws.push("a bar that nobody sees");
  }
  for (const table of document.querySelectorAll("table")) {
    if (!table.querySelector("thead th[scope=col]")) flaws.push("a table without headers");
  }
  const numbers = (colour) => colour.match(/[\d.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = numbers(colour).slice(0, 3).map((c) => {
      const part = c / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      const [, , , alpha = 1] = numbers(colour);
      if (alpha === 1) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  let texts = 0;
  for (const element of document.body.querySelectorAll("*")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own) continue;
    texts += 1;
    const [one, other] = [getComputedStyle(element).color, behind(element)].map(light);
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (contrast < 4.5) flaws.push(`contrast ${contrast.toFixed(2)}: ${element.className} ${element.textContent.slice(0, 40)}`);
    if (parseFloat(getComputedStyle(element).fontSize) < 12) flaws.push(`small: ${element.textContent.slice(0, 40)}`);
  }
  if (texts < 10) flaws.push("hardly any text");
  return flaws;
})()
