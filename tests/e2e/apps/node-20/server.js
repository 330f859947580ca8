"use strict";
require("node:http").createServer((request, answer) => {
	answer.end(`hello from Node ${process.version}\n`);
}).listen(process.env.PORT, "0.0.0.0");
