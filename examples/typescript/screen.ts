// Screens one exchange: node screen.js HOST:PORT PROMPT COMPLETION. Whatever is not RELEASE for this very text is withheld.
import { credentials, Metadata } from "@grpc/grpc-js";
import { createHash } from "node:crypto";
import { Decision, SafetyFilterServiceClient, ScreenRequest } from "./generated/interlock/v1/safety_filter";

const roundRobin = { "grpc.service_config": JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] }) };

function released(client: SafetyFilterServiceClient, prompt: Buffer, completion: Buffer): Promise<boolean> {
  const request = ScreenRequest.fromPartial({ exchange: { prompt, completion } });
  const digest = createHash("sha256").update(completion).digest();
  return new Promise((resolve) =>
    client.screen(request, new Metadata(), { deadline: Date.now() + 2000 }, (error, response) => {
      const verdict = error ? undefined : response.verdict;
      resolve(verdict?.decision === Decision.DECISION_RELEASE && digest.equals(verdict.completionSha256));
    }),
  );
}

const [target, prompt, completion] = process.argv.slice(2);
const client = new SafetyFilterServiceClient(`dns:${target}`, credentials.createInsecure(), roundRobin);
released(client, Buffer.from(prompt), Buffer.from(completion)).then((clear) => {
  console.log(clear ? completion : "I can't help with that.");
  process.exit(clear ? 0 : 3);
});
