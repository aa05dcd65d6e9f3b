/** A process of the sale: started by `SaleChild`, spoken to over its channel. */
import type { Sale, SaleStart } from "./sale.ts";
import { startSale } from "./sale.ts";

export type SaleCommand =
  | { readonly type: "start"; readonly start: SaleStart }
  | { readonly type: "outstanding" }
  | { readonly type: "stop" };

export type SaleReply =
  | { readonly type: "started"; readonly ports: readonly number[] }
  | { readonly type: "outstanding"; readonly count: number }
  | { readonly type: "stopped" };

let sale: Sale | undefined;

async function obey(command: SaleCommand): Promise<SaleReply> {
  switch (command.type) {
    case "start":
      sale = await startSale(command.start);
      return { type: "started", ports: sale.ports };
    case "outstanding":
      return { type: "outstanding", count: (await sale?.outstanding()) ?? 0 };
    case "stop":
      await sale?.close();
      return { type: "stopped" };
  }
}

process.on("message", (command: SaleCommand) => {
  obey(command).then(
    (reply) => process.send?.(reply),
    (error: unknown) => {
      console.error("the sale failed:", error);
      process.exit(1);
    },
  );
});
// Ctrl-C reaches every process of the terminal; the parent decides what becomes of this one.
process.on("SIGINT", () => {});
process.on("disconnect", () => process.exit(1));
