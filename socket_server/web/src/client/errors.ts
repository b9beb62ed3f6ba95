/** A request that the server refused or did not answer; `message` is one sentence for a person. */
export class RequestError extends Error {
  /** Of docs/protocol.md: "not_found", "forbidden", "too_many_requests", "unavailable" and so on. */
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.name = "RequestError";
    this.code = code;
  }
}

/** The error that a server's refusal means. */
export function refusal(error: { code?: string; message?: string } | undefined): RequestError {
  return new RequestError(error?.code ?? "unavailable", error?.message ?? "The server's answer could not be understood.");
}
