export type { BucketOptions, Decision } from "./bucket-state.ts";
export { type TakeOptions, type TokenBucket, type TokenBucketOptions, tokenBucket } from "./token-bucket.ts";
export { type TokenBuckets, type TokenBucketsOptions, tokenBuckets } from "./token-buckets.ts";
