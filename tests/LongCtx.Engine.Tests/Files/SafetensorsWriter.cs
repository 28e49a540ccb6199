using System.Buffers.Binary;
using System.Text;
using System.Text.Json;

namespace LongCtx.Engine.Tests.Files;

internal static class SafetensorsWriter
{
    public static byte[] Write(IEnumerable<TestTensor> tensors, Dictionary<string, string>? metadata = null)
    {
        Dictionary<string, object> header = [];
        if (metadata is not null) header.Add("__metadata__", metadata);
        MemoryStream data = new();
        foreach (TestTensor tensor in tensors)
        {
            header.Add(tensor.Name, new { dtype = tensor.Type.ToString(), shape = tensor.Shape, data_offsets = (long[])[data.Length, data.Length + tensor.Bytes.Length] });
            data.Write(tensor.Bytes);
        }

        return Write(JsonSerializer.Serialize(header), data.ToArray());
    }

    /// <summary>With a header as it comes.</summary>
    public static byte[] Write(string header, ReadOnlySpan<byte> data)
    {
        byte[] json = Encoding.UTF8.GetBytes(header);
        byte[] file = new byte[8 + json.Length + data.Length];
        BinaryPrimitives.WriteInt64LittleEndian(file, json.Length);
        json.CopyTo(file, 8);
        data.CopyTo(file.AsSpan(8 + json.Length));
        return file;
    }
}
