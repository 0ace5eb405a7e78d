import { createMemorySessions } from "./testing/memory-sessions.ts";
import { sessionStoreSuite } from "./testing/session-suite.ts";

sessionStoreSuite("createMemorySessions()", () => ({ store: createMemorySessions() }));
