using System.Buffers;
using System.IO.Pipelines;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Json;
using System.Text.Unicode;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core.Features;
using Microsoft.Net.Http.Headers;

namespace LongCtx.Api.Json;

/// <summary>Reads a request body as one JSON object, within the size limit; or piece by piece, where each piece is within it.</summary>
internal sealed class RequestBody(ApiOptions options)
{
    const int PieceBytes = 64 << 10;

    // A field given twice is a mistake whose outcome would depend on the parser.
    static readonly JsonDocumentOptions Strict = new() { AllowDuplicateProperties = false, MaxDepth = 64 };

    /// <summary>As <see cref="ReadObjectAsync"/>, but no body at all is an empty object.</summary>
    public async Task<JsonDocument> ReadObjectOrNothingAsync(HttpContext http)
    {
        bool hasBody = http.Features.Get<IHttpRequestBodyDetectionFeature>()?.CanHaveBody ?? true;
        return hasBody && http.Request.ContentLength != 0 ? await ReadObjectAsync(http) : JsonDocument.Parse("{}");
    }

    public async Task<JsonDocument> ReadObjectAsync(HttpContext http)
    {
        CheckContentType(http.Request);
        ReadOnlyMemory<byte> body = await ReadAsync(http);
        if (!Utf8.IsValid(body.Span)) throw NotUtf8();
        JsonDocument document = Parse(body.Span.StartsWith("\uFEFF"u8) ? body[3..] : body, "The body");
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

    /// <summary>One line of a body as JSON.</summary>
    public static JsonDocument Parse(string text, string name) => Parse(Encoding.UTF8.GetBytes(text), name);

    static JsonDocument Parse(ReadOnlyMemory<byte> text, string name)
    {
        try
        {
            return JsonDocument.Parse(text, Strict);
        }
        catch (JsonException e)
        {
            throw new ApiException(400, "invalid_json", Describe(e, name));
        }
    }

    /// <summary>A body of any length, in whole lines that are not empty; each with the number of bytes up to its end.</summary>
    public async IAsyncEnumerable<BodyPiece> ReadLinesAsync(HttpContext http, [EnumeratorCancellation] CancellationToken cancellation)
    {
        await foreach (BodyPiece line in BodyPieces.LinesAsync(OpenEnded(http), options.MaxBodyBytes, cancellation))
            if (!string.IsNullOrWhiteSpace(line.Text)) yield return line;
    }

    /// <summary>A text of any length in pieces of at most <paramref name="pieceBytes"/>; where it is cut depends on the text alone.</summary>
    public IAsyncEnumerable<BodyPiece> ReadTextAsync(HttpContext http, int pieceBytes, CancellationToken cancellation) =>
        BodyPieces.TextAsync(OpenEnded(http), pieceBytes, cancellation);

    /// <summary>The body without limits on its length and on how slowly it may come.</summary>
    static PipeReader OpenEnded(HttpContext http)
    {
        CheckEncoding(http.Request);
        if (http.Features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } limit) limit.MaxRequestBodySize = null;
        if (http.Features.Get<IHttpMinRequestBodyDataRateFeature>() is { } rate) rate.MinDataRate = null;
        return http.Request.BodyReader;
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
        CheckEncoding(request);
    }

    static void CheckEncoding(HttpRequest request)
    {
        string encoding = request.Headers.ContentEncoding.ToString();
        if (encoding.Length > 0 && !encoding.Equals("identity", StringComparison.OrdinalIgnoreCase))
            throw new ApiException(415, "unsupported_media_type", $"Content-Encoding '{encoding}' is not accepted; send the body uncompressed.");
    }

    ApiException TooLarge() =>
        new(413, "request_too_large", $"The request body is larger than this server's limit of {options.MaxBodyBytes} bytes.");

    internal static ApiException NotUtf8() => new(400, "invalid_utf8", "The request body is not valid UTF-8.");

    // System.Text.Json counts lines and bytes from 0 and appends them to its message in words of its own.
    static string Describe(JsonException e, string name)
    {
        int suffix = e.Message.IndexOf(" LineNumber:", StringComparison.Ordinal);
        string reason = suffix < 0 ? e.Message : e.Message[..suffix];
        string place = e.LineNumber is { } line ? $" (line {line + 1}, byte {e.BytePositionInLine + 1})" : "";
        return $"{name} is not valid JSON{place}: {reason}";
    }
}
