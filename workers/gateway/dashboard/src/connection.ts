// The WebSocket: subscribes, applies patches, reconnects by itself and resumes.

import { merged } from "./patch";

interface Message {
  type: "hello" | "value" | "patch" | "sealed" | "heartbeat";
  topic?: string;
  page?: string;
  sequence: number;
  since?: number;
  value?: unknown;
  at?: number;
}

export interface Listener {
  /** A topic's value; `page` is the page of the topic of pages. */
  value(topic: string, page: string | undefined, value: unknown): void;
  /** Connected, or not and why. */
  state(connected: boolean, why: string): void;
  /** The end of the last sealed window that is here. */
  after(): number | undefined;
  /** The gateway's clock less this one's, milliseconds. */
  clock(offset: number): void;
}

const TOPICS = ["site", "top", "health", "windows"];
/** Time without a message after which the connection is considered dead: three heartbeats. */
const LIVENESS_TIMEOUT_MS = 16_000;

export class Connection {
  private socket: WebSocket | null = null;
  private page: string | null = null;
  private values = new Map<string, { sequence: number; value: unknown }>();
  private lastMessageAt = 0;
  private failures = 0;

  constructor(private readonly listener: Listener) {
    this.open();
    setInterval(() => {
      if (this.socket && this.lastMessageAt && Date.now() - this.lastMessageAt > LIVENESS_TIMEOUT_MS) this.socket.close();
    }, 1_000);
  }

  /** Subscribes to one page as well, or to none. */
  watch(page: string | null): void {
    if (this.page === page) return;
    if (this.page !== null) this.send({ type: "unsubscribe", pages: [this.page] });
    this.page = page;
    if (page !== null) this.send({ type: "subscribe", pages: [page] });
  }

  private send(message: unknown): void {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  private open(): void {
    const url = new URL("/api/v1/live", location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(url);
    this.socket = socket;
    this.lastMessageAt = Date.now();
    socket.onopen = () => {
      this.failures = 0;
      this.values.clear();
      this.send({ type: "subscribe", topics: TOPICS, pages: this.page === null ? [] : [this.page], after: this.listener.after() });
    };
    socket.onmessage = (event) => {
      this.lastMessageAt = Date.now();
      this.take(JSON.parse(String(event.data)) as Message);
    };
    socket.onclose = (event) => {
      this.socket = null;
      this.listener.state(false, event.reason);
      // Jitter: many clients must not reconnect at once.
      const pause = Math.min(500 * 2 ** this.failures, 10_000) * (0.5 + Math.random());
      this.failures += 1;
      setTimeout(() => this.open(), pause);
    };
  }

  private take(message: Message): void {
    if (message.at !== undefined) this.listener.clock(message.at - Date.now());
    if (message.type === "hello") this.listener.state(true, "");
    if (message.type === "sealed") this.listener.value("sealed", undefined, message.value);
    if (message.type !== "value" && message.type !== "patch") return;
    const topic = message.topic ?? "";
    const key = message.page === undefined ? topic : `page ${message.page}`;
    // A merge patch does not distinguish null from missing, so neither does a whole value.
    let value: unknown = merged(undefined, message.value);
    if (message.type === "patch") {
      const known = this.values.get(key);
      if (!known || known.sequence !== message.since) {
        // The patch is against another value. After a reconnect whole values are sent.
        this.socket?.close();
        return;
      }
      value = merged(known.value, message.value);
    }
    this.values.set(key, { sequence: message.sequence, value });
    this.listener.value(topic, message.page, value);
  }
}
