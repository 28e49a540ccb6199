namespace LongCtx.Api;

/// <summary>A refusal by the HTTP layer itself, before the host was asked.</summary>
internal sealed class ApiException(int status, string code, string message, string? parameter = null) : Exception(message)
{
    public int Status { get; } = status;

    public string Code { get; } = code;

    public string? Parameter { get; } = parameter;

    /// <summary>Methods that the path does take, for 405.</summary>
    public string? Allow { get; init; }

    public static ApiException Missing(string parameter) =>
        new(400, "missing_required_parameter", $"Missing required parameter: '{parameter}'.", parameter);

    public static ApiException Type(string parameter, string expected, string got) =>
        new(400, "invalid_type", $"'{parameter}' must be {expected}, not {got}.", parameter);

    public static ApiException Value(string parameter, string expected, string got) =>
        new(400, "invalid_value", $"'{parameter}' must be {expected}, not {got}.", parameter);

    public static ApiException Unsupported(string parameter, string reason) =>
        new(400, "unsupported_parameter", $"Unsupported parameter: '{parameter}': {reason}", parameter);

    public static ApiException Unknown(string parameter) =>
        new(400, "unknown_parameter", $"Unknown parameter: '{parameter}'. Remove it: nothing is ignored silently.", parameter);
}
