export const engines = [];
