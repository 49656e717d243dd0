// Preloaded into Azurite: what is written is on disk before it is acknowledged, as an account of Azure has it.
// Left alone, Azurite saves its metadata every five seconds, and kill -9 takes what it acknowledged since.
const { createRequire } = require("module");
const { ServerResponse } = require("http");
const Loki = createRequire(process.argv[1])("lokijs");

const databases = new Set();
for (const name of ["addCollection", "loadDatabase"]) {
  const original = Loki.prototype[name];
  Loki.prototype[name] = function (...rest) {
    databases.add(this);
    return original.apply(this, rest);
  };
}

const save = (database) => new Promise((done) => database.saveDatabase(done));

const end = ServerResponse.prototype.end;
ServerResponse.prototype.end = function (...rest) {
  if (this.req && this.req.method !== "GET" && this.req.method !== "HEAD" && this.statusCode < 300) {
    Promise.all([...databases].map(save)).then(() => end.apply(this, rest));
    return this;
  }
  return end.apply(this, rest);
};
