/** About so much of a lane is fetched or handed out at once, however much is asked for: it is cheap to keep as it was stored, and an answer costs the store more than what is in it. */
export const fetchBytesMax = 512 * 1024;
