/**
 * A captive portal, run inside an ISP of the lab: every page asked for is answered by a redirect to http://login.portal.lab/, which is a page to log in.
 *
 *   node portal-server.js PORT
 *
 * Prints one line when it listens, and ends with its stdin.
 */
import { createServer } from 'node:http';

const LOGIN = 'login.portal.lab';

const server = createServer((request, response) => {
  if (request.headers.host === LOGIN) response.writeHead(200, { 'content-type': 'text/html' }).end('<title>Log in</title><form method="post">Room number <input name="room"></form>\n');
  else response.writeHead(302, { location: `http://${LOGIN}/`, 'content-type': 'text/html' }).end(`<a href="http://${LOGIN}/">log in</a>\n`);
});
server.listen(Number(process.argv[2]), '::', () => process.stdout.write('listening\n'));
process.stdin.resume();
process.stdin.once('end', () => process.exit(0));
