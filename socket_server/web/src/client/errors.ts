import type * as sent from "./protocol.generated.js";

/** The `error` object of a reply; later servers may send other codes. */
export interface ErrorObject extends Partial<Omit<sent.ErrorObject, "code">> {
  code?: string;
}

/** Codes of temporary errors, for servers of 0.1.0, which do not say which errors are. */
const TEMPORARY: ReadonlySet<string> = new Set<sent.ErrorCode>([
  "unavailable",
  "too_many_requests",
  "too_many_connections",
  "internal",
]);

/** A request that the server refused or did not answer; `message` is one sentence for a person. */
export class RequestError extends Error {
  /** Code from docs/protocol.md, such as "not_found", "forbidden" or "unavailable". */
  readonly code: string;
  /** Whether the same request may succeed later. */
  readonly temporary: boolean;

  constructor(code: string, message: string, temporary = TEMPORARY.has(code)) {
    super(message);
    this.name = "RequestError";
    this.code = code;
    this.temporary = temporary;
  }
}

/** The `RequestError` for the `error` object of a server's reply. */
export function refusal(error: ErrorObject | undefined): RequestError {
  return new RequestError(
    error?.code ?? "unavailable",
    error?.message ?? "The server's answer could not be understood.",
    error?.temporary,
  );
}
