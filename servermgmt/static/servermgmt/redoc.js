// Runs before ReDoc, and changes what its elements are: its styles bear the nonce of the page, without which the browser
// refuses them, and its one image, the makers' logo that it would fetch from them, is none.
"use strict";

const { nonce } = document.currentScript;

document.createElement = (name, ...options) => {
  const element = Document.prototype.createElement.call(document, name === "img" ? "span" : name, ...options);
  if (name === "style") element.nonce = nonce;
  return element;
};
