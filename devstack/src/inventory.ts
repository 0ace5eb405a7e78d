import type { NatsConnection } from "@nats-io/transport-node";

const SUBJECT = "inventory.check";
const ARTICLE_CHARS_MAX = 100;

/** A trusted service of the demo: answers `inventory.check` with how many of an article are there. */
export function startInventory(connection: NatsConnection): void {
  connection.subscribe(SUBJECT, {
    queue: "inventory",
    callback: (error, message) => {
      if (error !== null) return;
      const article = message.string().slice(0, ARTICLE_CHARS_MAX);
      message.respond(JSON.stringify({ article, inStock: article.length * 7 }));
    },
  });
}
