(function () {
  "use strict";
  var button = document.getElementById("save");
  button.hidden = false;
  button.addEventListener("click", function () {
    var json = document.getElementById("result").textContent;
    var link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([json], { type: "application/json" }));
    link.download = "bench.json";
    link.click();
  });
})();
