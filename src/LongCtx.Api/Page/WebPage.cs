using System.Security.Cryptography;

namespace LongCtx.Api.Page;

/// <summary>The chat page: a few files inside the assembly, without anything from elsewhere.</summary>
internal static class WebPage
{
    const string Prefix = "page/";

    // Only the page's own files run, and only this server is talked to.
    const string ContentPolicy =
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        + "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

    /// <summary>The files with the path each is served at.</summary>
    public static IEnumerable<(string Path, RequestDelegate Endpoint)> Files()
    {
        foreach (string name in typeof(WebPage).Assembly.GetManifestResourceNames().Where(n => n.StartsWith(Prefix, StringComparison.Ordinal)))
        {
            string file = name[Prefix.Length..];
            yield return (file == "index.html" ? "/" : $"/page/{file}", Serve(Load(name), ContentType(file)));
        }
    }

    static RequestDelegate Serve(byte[] content, string type)
    {
        string tag = $"\"{Convert.ToHexStringLower(SHA256.HashData(content).AsSpan(0, 16))}\"";
        return async http =>
        {
            HttpResponse response = http.Response;
            response.Headers.ETag = tag;
            response.Headers.CacheControl = "no-cache";
            response.Headers.ContentSecurityPolicy = ContentPolicy;
            response.Headers.XContentTypeOptions = "nosniff";
            response.Headers["Referrer-Policy"] = "no-referrer";
            if (http.Request.Headers.IfNoneMatch.Contains(tag))
            {
                response.StatusCode = StatusCodes.Status304NotModified;
                return;
            }
            response.ContentType = type;
            response.ContentLength = content.Length;
            if (!HttpMethods.IsHead(http.Request.Method)) await response.Body.WriteAsync(content, http.RequestAborted);
        };
    }

    static byte[] Load(string name)
    {
        using Stream stream = typeof(WebPage).Assembly.GetManifestResourceStream(name)!;
        byte[] content = new byte[stream.Length];
        stream.ReadExactly(content);
        return content;
    }

    static string ContentType(string file) => Path.GetExtension(file) switch
    {
        ".html" => "text/html; charset=utf-8",
        ".css" => "text/css; charset=utf-8",
        ".js" => "text/javascript; charset=utf-8",
        var other => throw new InvalidOperationException($"The page has a file of unknown type '{other}'."),
    };
}
