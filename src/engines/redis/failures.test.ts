import assert from "node:assert/strict";
import { test } from "node:test";
import { failureOf } from "./failures.ts";

test("a script that was forbidden a part may have come half way, in the words of every version of Redis", () => {
  const replies = [
    "ERR The user executing the script can't access at least one of the keys mentioned script: 1f, on @user_script:3.",
    "ERR ACL failure in script: User app has no permissions to access the 'other' channel script: 1f, on @user_script:3.",
  ];
  for (const reply of replies) {
    const { code, outcome } = failureOf(new Error(reply), "append");
    assert.deepEqual([code, outcome], ["denied", "unknown"]);
  }
});
