export { type RabbitmqServer, rabbitmqServerMissing, startRabbitmqServer } from "../scripts/engines/rabbitmq-server.ts";
