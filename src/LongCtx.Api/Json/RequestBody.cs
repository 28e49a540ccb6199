using System.Buffers;
using System.Text.Json;
using System.Text.Unicode;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Net.Http.Headers;

namespace LongCtx.Api.Json;

/// <summary>Reads a request body as one JSON object, within the size limit.</summary>
internal sealed class RequestBody(ApiOptions options)
{
    const int PieceBytes = 64 << 10;

    // A field given twice is a mistake whose outcome would depend on the parser.
    static readonly JsonDocumentOptions Strict = new() { AllowDuplicateProperties = false, MaxDepth = 64 };

    public async Task<JsonDocument> ReadObjectAsync(HttpContext http)
    {
        CheckContentType(http.Request);
        ReadOnlyMemory<byte> body = await ReadAsync(http);
        if (!Utf8.IsValid(body.Span)) throw NotUtf8();
        JsonDocument document;
        try
        {
            document = JsonDocument.Parse(body.Span.StartsWith("\uFEFF"u8) ? body[3..] : body, Strict);
        }
        catch (JsonException e)
        {
            throw new ApiException(400, "invalid_json", Describe(e));
        }
        if (document.RootElement.ValueKind == JsonValueKind.Object) return document;
        string kind = document.RootElement.Kind();
        document.Dispose();
        throw new ApiException(400, "invalid_type", $"The body must be a JSON object, not {kind}.");
    }

    /// <summary>
    /// The limit is kept here and not by the web server: having refused a body, the server would cut the connection while the client still
    /// sends, which then sees a broken pipe and not the answer. This way it reads on for a few seconds after the answer.
    /// </summary>
    async Task<ReadOnlyMemory<byte>> ReadAsync(HttpContext http)
    {
        if (http.Features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } limit) limit.MaxRequestBodySize = null;
        if (http.Request.ContentLength > options.MaxBodyBytes) throw TooLarge();
        using MemoryStream body = new();
        byte[] piece = ArrayPool<byte>.Shared.Rent(PieceBytes);
        try
        {
            int read;
            while ((read = await http.Request.Body.ReadAsync(piece, http.RequestAborted)) > 0)
            {
                if (body.Length + read > options.MaxBodyBytes) throw TooLarge();
                body.Write(piece.AsSpan(0, read));
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(piece);
        }
        return body.GetBuffer().AsMemory(0, (int)body.Length);
    }

    static void CheckContentType(HttpRequest request)
    {
        bool json = MediaTypeHeaderValue.TryParse(request.ContentType, out MediaTypeHeaderValue? type)
            && (type.MediaType.Equals("application/json", StringComparison.OrdinalIgnoreCase) || type.Suffix.Equals("json", StringComparison.OrdinalIgnoreCase))
            && (!type.Charset.HasValue || type.Charset.Equals("utf-8", StringComparison.OrdinalIgnoreCase));
        if (!json)
        {
            string got = string.IsNullOrEmpty(request.ContentType) ? "none was given" : $"not '{request.ContentType}'";
            throw new ApiException(415, "unsupported_media_type", $"The Content-Type must be application/json in UTF-8; {got}.");
        }
        string encoding = request.Headers.ContentEncoding.ToString();
        if (encoding.Length > 0 && !encoding.Equals("identity", StringComparison.OrdinalIgnoreCase))
            throw new ApiException(415, "unsupported_media_type", $"Content-Encoding '{encoding}' is not accepted; send the body uncompressed.");
    }

    ApiException TooLarge() =>
        new(413, "request_too_large", $"The request body is larger than this server's limit of {options.MaxBodyBytes} bytes.");

    static ApiException NotUtf8() => new(400, "invalid_utf8", "The request body is not valid UTF-8.");

    // System.Text.Json counts lines and bytes from 0 and appends them to its message in words of its own.
    static string Describe(JsonException e)
    {
        int suffix = e.Message.IndexOf(" LineNumber:", StringComparison.Ordinal);
        string reason = suffix < 0 ? e.Message : e.Message[..suffix];
        string place = e.LineNumber is { } line ? $" (line {line + 1}, byte {e.BytePositionInLine + 1})" : "";
        return $"The body is not valid JSON{place}: {reason}";
    }
}
