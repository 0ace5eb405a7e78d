// npm run -s token -- alice: prints an access token of a demo user, for scripts.
import { reportAndExit } from "./devstack-error.ts";
import { fetchToken } from "./fetch-token.ts";
import { readRunning, readScriptArguments } from "./running.ts";

try {
  const { asked, stateDir } = readScriptArguments();
  console.log(await fetchToken(await readRunning(stateDir), asked));
} catch (error) {
  reportAndExit(error);
}
