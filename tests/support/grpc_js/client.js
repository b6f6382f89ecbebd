// gRPC's xDS client: calls the target in its argument once for each line that it reads, and prints the answer, or the status.
"use strict";

const readline = require("node:readline");
const grpc = require("@grpc/grpc-js");
require("@grpc/grpc-js-xds").register();

// @grpc/grpc-js-xds 1.14.1 reads the environment too late for its own resolver: the bootstrap has to be given.
const bootstrap = { "grpc.TEST_ONLY_DO_NOT_USE_IN_PROD.xds_bootstrap_config": process.env.GRPC_XDS_BOOTSTRAP_CONFIG };
const client = new grpc.Client(process.argv[2], grpc.credentials.createInsecure(), bootstrap);
const same = (bytes) => bytes;

readline.createInterface({ input: process.stdin }).on("line", () => {
  client.makeUnaryRequest("/demo.Greeter/Greet", same, same, Buffer.alloc(0), { deadline: Date.now() + 10000 }, (error, answer) => {
    console.log(error ? `${grpc.status[error.code]} ${error.details}` : answer.toString());
  });
}).on("close", () => client.close());
