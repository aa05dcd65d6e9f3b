import { type Flow, gatewayIds } from "./model.ts";

/** A service that a process runs. */
export type Role =
  | { readonly type: "gateway"; readonly id: string }
  | { readonly type: "stock" }
  /** Orders, payments, checks for payment, notification and statistics. */
  | { readonly type: "orders" };

/** A process of the sale, and what runs in it. Services start in the order in which they stand here. */
export interface ProcessPlan {
  readonly name: string;
  readonly roles: readonly Role[];
}

export function planOf(flow: Flow, processes: boolean): readonly ProcessPlan[] {
  if (processes) return fromTheBackToTheDoor(flow, 2);
  // A second stock service would only share the first one's thread.
  return [{ name: "the sale", roles: fromTheBackToTheDoor(flow, 1).flatMap((plan) => plan.roles) }];
}

/** Direct calls need no stock service: the gateways decide. */
function fromTheBackToTheDoor(flow: Flow, stockServices: number): readonly ProcessPlan[] {
  const count = flow === "queue" ? stockServices : 0;
  return [
    { name: "orders", roles: [{ type: "orders" }] },
    ...Array.from(
      { length: count },
      (_, index): ProcessPlan => ({ name: `stock-${index}`, roles: [{ type: "stock" }] }),
    ),
    ...gatewayIds.map((id): ProcessPlan => ({ name: id, roles: [{ type: "gateway", id }] })),
  ];
}
