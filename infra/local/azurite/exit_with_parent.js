// Preloaded into Azurite: when the parent goes, even by kill -9, its end of our stdin closes;
// then end as on SIGTERM, which writes the metadata out. unref: stdin alone keeps nobody running.
const end = () => process.kill(process.pid, "SIGTERM");
process.stdin.on("end", end).on("error", end).resume().unref();
