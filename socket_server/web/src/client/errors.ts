/** A request that the server refused or did not answer; `message` is one sentence for a person. */
export class RequestError extends Error {
  /** Code from docs/protocol.md, such as "not_found", "forbidden" or "unavailable". */
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.name = "RequestError";
    this.code = code;
  }
}

/** The `RequestError` for the `error` object of a server's reply. */
export function refusal(error: { code?: string; message?: string } | undefined): RequestError {
  return new RequestError(
    error?.code ?? "unavailable",
    error?.message ?? "The server's answer could not be understood.",
  );
}
