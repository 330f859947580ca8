'use strict';
// A small Express application: a page, a health check, and a look at what the platform told it.
const express = require('express');

const app = express();
const started = new Date().toISOString();

app.get('/', (request, response) => {
  response.json({
    app: 'express-sample',
    greeting: process.env.GREETING || 'hello from Express',
    instance: process.env.INSTANCE_INDEX,
    address: process.env.DIALTONE_ADDRESS,
    node: process.version,
    started,
  });
});

app.get('/healthz', (request, response) => response.send('ok\n'));

const server = app.listen(process.env.PORT, '0.0.0.0', () => {
  console.log(`listening on port ${process.env.PORT}`);
});

// The platform asks an instance to stop with SIGTERM, after it has taken it out of the routes.
process.on('SIGTERM', () => {
  console.log('stopping');
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
