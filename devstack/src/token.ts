// npm run -s token -- alice: prints an access token of a demo user, for scripts.
import { reportAndExit } from "./devstack-error.ts";
import { fetchToken } from "./fetch-token.ts";
import { readRunning, STATE_DIR } from "./running.ts";

try {
  console.log(await fetchToken(await readRunning(STATE_DIR), process.argv[2]));
} catch (error) {
  reportAndExit(error);
}
