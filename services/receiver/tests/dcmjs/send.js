// Sends DICOM files with dcmjs-dimse and says what was answered: node send.js PORT FILE...
// Prints one line of JSON: the status of each file by name, and that of a C-ECHO.
const { Client, requests } = require("dcmjs-dimse");

const [port, ...files] = process.argv.slice(2);
const client = new Client();
const said = { echo: null, stored: {} };
for (const file of files) {
  const request = new requests.CStoreRequest(file);
  request.on("response", (response) => {
    said.stored[file] = response.getStatus();
  });
  client.addRequest(request);
}
const echo = new requests.CEchoRequest();
echo.on("response", (response) => {
  said.echo = response.getStatus();
});
client.addRequest(echo);
client.on("closed", () => {
  process.stdout.write(`\n${JSON.stringify(said)}\n`, () => process.exit(0));
});
client.on("networkError", (error) => {
  process.stderr.write(`${error}\n`, () => process.exit(1));
});
setTimeout(() => process.exit(2), 30000);
client.send("127.0.0.1", Number(port), "DCMJS", "HERMES");
