/** `Credentials`: the token that a client connects with, and where the next one comes from. */
import type * as sent from "./protocol.generated.js";

/** What a client sends when it connects, and with `refresh`. */
export type Auth = sent.RefreshRequest;

export class Credentials {
  #token: string;
  #getToken: (() => Promise<string>) | undefined;

  constructor(token = "", getToken?: () => Promise<string>) {
    this.#token = token;
    this.#getToken = getToken;
  }

  /** Whether the application returns a token whenever one is needed; the server renews none then. */
  get fromApplication(): boolean {
    return this.#getToken !== undefined;
  }

  /** The current token as `Auth`; rejects if the application has none. */
  async current(): Promise<Auth> {
    return this.#getToken ? this.with(await this.#getToken()) : this.with(this.#token);
  }

  with(token: string): Auth {
    return { token, renew: !this.fromApplication };
  }

  /** Begin the next connection with a token, unless the application returns one then. */
  keep(token: string): void {
    this.#token = token;
  }
}
